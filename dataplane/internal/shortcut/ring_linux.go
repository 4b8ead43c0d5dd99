//go:build !portable

package shortcut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Ring is a queue into which programs copy datagrams that links send in a flood, so
// that the process gets each of them without a system call, and the sender is
// done when it has put it there. It has one reader.
//
// A flow's datagrams stay in order by positions: each flow knows that behind its
// last one, and goes past the ring when as much has been released. What of the flow
// comes by the device's queue meanwhile is younger than what is in the ring.
//
// A record is laid out like this, behind the header of the kernel's, in the
// machine's byte order; its length is one of ringRecords:
//
//	 0        2      4      8
//	+--------+------+------+-----------+------+
//	| length | link | time | the frame | free |
//	+--------+------+------+-----------+------+
type Ring struct {
	of         *ebpf.Map
	mine, ours []byte // mapped: what the reader writes, and what it does not

	consumed, produced *atomic.Uint64 // positions, which only grow
	data               []byte         // ringSize bytes, twice, so that no record is in two parts
	at                 uint64         // position up to which has been read
	last               uint32         // when what was read last was sent
	slot               *Slot          // for wordWake
}

const (
	ringSize = 1 << 20 // bytes: for 7700 small records

	ringLen     = 0 // u16, of the frame
	ringLink    = 2 // u16, index of its slot
	ringTime    = 4 // u32, when it was sent, the low bits of Now
	ringHeadLen = 8

	// Values of linux/bpf.h for bpf_ringbuf_query.
	ringConsumed = 2 // BPF_RB_CONS_POS
	ringProduced = 3 // BPF_RB_PROD_POS
	ringQuiet    = 1 // BPF_RB_NO_WAKEUP
	ringLoud     = 2 // BPF_RB_FORCE_WAKEUP

	// Of the kernel's header (u32 length, u32 of its own).
	kernelHeadLen = 8
	kernelBusy    = 1 << 31 // BPF_RINGBUF_BUSY_BIT
	kernelDiscard = 1 << 30 // BPF_RINGBUF_DISCARD_BIT
)

// ringRecords are the lengths that a record can have, in bytes. The kernel rounds none up.
var ringRecords = [...]int32{128, 256, ringFrameMax + ringHeadLen}

// ringFrameMax is the largest frame that goes into a ring, in bytes.
const ringFrameMax = 504

// OpenRing makes a ring (Linux 5.8).
func (t *Table) OpenRing() (*Ring, error) {
	if strconv.IntSize != 64 {
		return nil, errors.New("it takes a 64-bit system") // positions are the kernel's long
	}
	of, err := ebpf.NewMap(ringSpec())
	if err != nil {
		return nil, explain("create a BPF ring", err)
	}
	r := &Ring{of: of, slot: slots.take()}
	if r.slot == nil {
		of.Close()
		return nil, errors.New("there are too many links")
	}
	r.Shut(0) // the slot may have been a link's, to which these words say something else
	r.slot.words[wordFull].Store(0)
	page := os.Getpagesize()
	r.mine, err = unix.Mmap(of.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil {
		r.ours, err = unix.Mmap(of.FD(), int64(page), page+2*ringSize, unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("map a BPF ring: %w", err)
	}
	r.consumed, r.produced = (*atomic.Uint64)(unsafe.Pointer(&r.mine[0])), (*atomic.Uint64)(unsafe.Pointer(&r.ours[0]))
	r.data = r.ours[page:]
	return r, nil
}

func ringSpec() *ebpf.MapSpec {
	return &ebpf.MapSpec{Name: "weft_ring", Type: ebpf.RingBuf, MaxEntries: ringSize}
}

// FD is readable, by edges, when it is as Sleep was told.
func (r *Ring) FD() int { return r.of.FD() }

// End is the position behind what there is now.
func (r *Ring) End() uint64 { return r.produced.Load() }

// At is the position behind what was read.
func (r *Ring) At() uint64 { return r.at }

// Next returns the next frame, and the index of the slot of its link; ok is false if
// there is none, or it is still being written. The frame is valid until Release.
func (r *Ring) Next() (frame []byte, link int, ok bool) {
	for r.at < r.produced.Load() {
		record := r.data[r.at%ringSize:]
		head := (*atomic.Uint32)(unsafe.Pointer(&record[0])).Load()
		if head&kernelBusy != 0 {
			break
		}
		record = record[kernelHeadLen:]
		r.at += kernelHeadLen + uint64(head&^kernelDiscard)
		if head&kernelDiscard == 0 {
			length := binary.NativeEndian.Uint16(record[ringLen:])
			r.last = binary.NativeEndian.Uint32(record[ringTime:])
			return record[ringHeadLen : ringHeadLen+length], int(binary.NativeEndian.Uint16(record[ringLink:])), true
		}
	}
	return nil, 0, false
}

// Quiet is how long ago the frame was sent that was read last, up to four seconds.
func (r *Ring) Quiet() time.Duration { return time.Duration(uint32(Now()) - r.last) }

// Sleep has the reader be woken, by FD, once there are some bytes behind what was read,
// and reports whether there are not yet.
func (r *Ring) Sleep(bytes uint64) bool {
	r.slot.words[wordWake].Store(r.at + bytes) // a barrier: see sender.wake
	if r.produced.Load() < r.at+bytes {
		return true
	}
	r.Awake()
	return false
}

// Awake is for when the reader looks for records by itself.
func (r *Ring) Awake() { r.slot.words[wordWake].Store(0) }

// Calm has nothing be taken for a flood until a time of Now. Flows that have something
// in the ring still wait for that.
func (r *Ring) Calm(until uint64) { r.slot.words[wordCalm].Store(until) }

// Full counts the datagrams that were dropped because the ring was full.
func (r *Ring) Full() uint64 { return r.slot.words[wordFull].Load() }

// Shut is Calm where flows have so much in the ring that it is never empty: what would
// wait for that is dropped.
func (r *Ring) Shut(until uint64) {
	r.slot.words[wordShut].Store(until)
	r.Calm(until)
}

// Release gives what was read back. From now on its flows may go past the ring.
func (r *Ring) Release() { r.consumed.Store(r.at) }

// Close has no link use it any more.
func (r *Ring) Close() {
	if r == nil {
		return
	}
	for _, m := range [...][]byte{r.mine, r.ours} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	r.of.Close()
	r.Shut(0)
	slots.free(r.slot)
}

// FloodBy has what a link sends in a flood go by a ring from now on.
func (t *Table) FloodBy(link *Slot, r *Ring) error {
	link.words[wordRing].Store(uint64(r.slot.offset()))
	return t.rings.Put(uint32(link.index), uint32(r.FD()))
}

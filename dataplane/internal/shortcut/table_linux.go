//go:build !portable

package shortcut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Table is the flows of one network namespace, and the programs that carry
// them. Any number of goroutines may use it at once.
type Table struct {
	sends, receives *ebpf.Map
	figures         *ebpf.Map // perCore of each link, by the index of its slot
	rings           *ebpf.Map // of each, likewise
	slots, grants   *ebpf.Map // of the process
	send            [kinds]*ebpf.Program
	receive         *ebpf.Program
	anchor          anchor
	joiner          joiner
	cutter          cutter
	scrubber        scrubber
	privates        privates

	mu       sync.Mutex
	closed   bool
	attached map[int]link.Link // of the program that receives, by device
	failed   map[int]string    // why it could not be attached, as was last returned

	telling   sync.RWMutex // held by who changes receiving
	receiving map[int]bool // devices on which the program that receives is
}

// maxFlows is how many flows of each kind there can be; the one that was used
// least makes room.
const maxFlows = 8192

// Open makes the table of the calling thread's network namespace. It wants
// CAP_BPF (or CAP_SYS_ADMIN) and CAP_NET_ADMIN, and those in the first user
// namespace. The error says what the system lacks. What is done without is told,
// by calls that do not overlap, until the table is closed.
func Open(tell func(Lack)) (*Table, error) {
	t := &Table{attached: map[int]link.Link{}, failed: map[int]string{}, receiving: map[int]bool{}}
	t.privates.tell = tell
	follow := func() error { return t.privates.follow(t) }
	for _, step := range []func() error{t.anchor.open, t.makeMaps, t.openJoiner, t.load, follow} {
		if err := step(); err != nil {
			t.Close()
			return nil, err
		}
	}
	t.privates.tellRefused()
	return t, nil
}

func (t *Table) makeMaps() (err error) {
	if t.slots, err = slots.open(); err != nil {
		return err
	}
	if t.grants, err = grants.open(); err != nil {
		return err
	}
	if t.privates.slot = slots.take(); t.privates.slot == nil {
		return errors.New("there are too many links")
	}
	for _, m := range []struct {
		to                  **ebpf.Map
		name                string
		kind                ebpf.MapType
		key, value, entries uint32
	}{
		{&t.sends, "weft_send", ebpf.LRUHash, sendKeyLen, sendValueLen, maxFlows},
		{&t.receives, "weft_receive", ebpf.LRUHash, receiveKeyLen, receiveValueLen, maxFlows},
		{&t.figures, "weft_figures", ebpf.PerCPUArray, 4, uint32(unsafe.Sizeof(perCore{})), maxSlots},
	} {
		made, err := ebpf.NewMap(&ebpf.MapSpec{Name: m.name, Type: m.kind, KeySize: m.key, ValueSize: m.value, MaxEntries: m.entries})
		if err != nil {
			return explain("create a BPF map", err)
		}
		*m.to = made
	}
	t.rings, err = ebpf.NewMap(&ebpf.MapSpec{Name: "weft_rings", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: maxSlots, InnerMap: ringSpec()})
	if err != nil {
		return explain("create a BPF map", err)
	}
	return nil
}

func (t *Table) load() error {
	for _, p := range []struct {
		to   **ebpf.Program
		name string
		list asm.Instructions
	}{
		{&t.send[Framed], "weft_send", t.sendProgram(Framed)},
		{&t.send[Routed], "weft_send_l3", t.sendProgram(Routed)},
		{&t.send[Bare], "weft_send_udp", t.sendProgram(Bare)},
		{&t.receive, "weft_receive", t.receiveProgram()},
	} {
		made, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: p.name, Type: ebpf.SchedCLS, Instructions: p.list})
		if err != nil {
			return explain("load a BPF program", err)
		}
		*p.to = made
	}
	return t.receiveRuns()
}

// openJoiner makes the devices that the programs give frames to.
func (t *Table) openJoiner() error {
	if err := t.joiner.open(t); err != nil {
		return err
	}
	if err := t.cutter.open(&t.joiner); err != nil {
		t.cutter.refused = err.Error()
	}
	if err := t.scrubber.open(&t.joiner); err != nil {
		t.scrubber.refused = err.Error()
	}
	return nil
}

func explain(what string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		// What the library says beside it is about kernels before 5.11.
		return fmt.Errorf("%s: not permitted: CAP_BPF is needed, outside of user namespaces", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Close takes the programs off.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, l := range t.attached {
		l.Close()
	}
	t.privates.close()
	t.anchor.close()
	t.scrubber.close()
	t.cutter.close()
	t.joiner.close()
	for _, p := range append(t.send[:], t.receive) {
		if p != nil {
			p.Close()
		}
	}
	for _, m := range []*ebpf.Map{t.sends, t.receives, t.figures, t.rings} {
		if m != nil {
			m.Close()
		}
	}
}

// Slot takes a slot, or returns nil when there is none left.
func (t *Table) Slot() *Slot {
	s := slots.take()
	if s != nil {
		_ = t.figures.Put(uint32(s.index), make([]perCore, ebpf.MustPossibleCPU()))
	}
	return s
}

// Free gives a slot back. Flows that name it do not hold any more.
func (t *Table) Free(s *Slot) {
	_ = t.rings.Delete(uint32(s.index)) // fails if it has none
	slots.free(s)
}

// perCore is what each core knows of a link.
type perCore struct {
	Figures
	Flooding flooding
}

// Figures returns what has been carried of a link.
func (t *Table) Figures(s *Slot) (sum Figures) {
	var each []perCore
	if t.figures.Lookup(uint32(s.index), &each) != nil {
		return sum
	}
	for _, f := range each {
		sum.TxPackets += f.TxPackets
		sum.TxBytes += f.TxBytes
		sum.RxPackets += f.RxPackets
		sum.RxBytes += f.RxBytes
		sum.TxDropped += f.TxDropped
		sum.RxDropped += f.RxDropped
	}
	return sum
}

// Now is the time that programs go by, CLOCK_MONOTONIC in nanoseconds, or a
// moment before. Package time reads it without a system call, and counts from
// somewhere else.
func Now() uint64 { return began + uint64(time.Since(start)) }

var began, start = oneMoment()

// oneMoment reads both clocks until nothing came between: what does is how much Now
// is early, for the life of the process.
func oneMoment() (began uint64, start time.Time) {
	least := uint64(math.MaxUint64)
	for range 16 {
		before, now := clockNow(), time.Now() // in this order, so that Now is not late
		if took := clockNow() - before; took < least {
			least, began, start = took, before, now
		}
	}
	return began, start
}

func clockNow() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return uint64(now.Nano())
}

// SendBy has what a link's device sends go through the program from now on, until
// the result is closed or the device is gone (tcx, Linux 6.6).
func (t *Table) SendBy(device int, kind Kind) (io.Closer, error) {
	l, err := link.AttachTCX(link.TCXOptions{Interface: device, Program: t.send[kind], Attach: ebpf.AttachTCXEgress})
	if err != nil {
		return nil, fmt.Errorf("attach a BPF program: %w", err)
	}
	return l, nil
}

// ReceiveBy does so with what an underlay device receives, until the table is
// closed. A device of the same index as one that is gone is another one. An error
// is returned once, however often the same comes again.
//
// Nobody notes what a device receives before the program is on it, and until then may
// take any time: the kernel's lock for devices is held for long by others. So no
// station is told of sooner.
func (t *Table) ReceiveBy(device int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.isAttached(device) {
		return nil
	}
	t.notReceiving(device)
	l, err := link.AttachTCX(link.TCXOptions{Interface: device, Program: t.receive, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		known := t.failed[device] == err.Error()
		t.failed[device] = err.Error()
		if known {
			return nil
		}
		return fmt.Errorf("attach a BPF program: %w", err)
	}
	delete(t.failed, device)
	t.attached[device] = l
	t.telling.Lock()
	defer t.telling.Unlock()
	t.receiving[device] = true
	return nil
}

// notReceiving forgets all stations where those of a device may be among them.
func (t *Table) notReceiving(device int) {
	t.telling.Lock()
	defer t.telling.Unlock()
	if !t.receiving[device] {
		return
	}
	delete(t.receiving, device)
	var key [receiveKeyLen]byte
	for t.receives.NextKey(nil, &key) == nil && t.receives.Delete(&key) == nil {
		continue
	}
}

// isAttached asks the kernel, which lets go of a program with its device.
func (t *Table) isAttached(device int) bool {
	l := t.attached[device]
	if l == nil {
		return false
	}
	if info, err := l.Info(); err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == device {
		return true
	}
	l.Close()
	delete(t.attached, device)
	return false
}

// inTime has what is known of a flow be put where programs find it, and reports whether it
// is there. What a program notes in a value until another one takes its place is lost, so
// the new one says that something waits, up to settle after the time that it has. If that
// is half over then, since whoever puts it lost their core, it is put again. It is the worker,
// which meanwhile does not say that anything is drained.
func inTime(put func(now uint64) error) bool {
	const tries = 8
	for range tries {
		now := Now()
		if put(now) != nil {
			return false
		}
		if Now()-now < uint64(settle/2) {
			return true
		}
	}
	return false
}

// Send tells the program of a flow. It reports whether it is one for it.
func (t *Table) Send(s *Send) (g Grant, ok bool) {
	key, inner, ok := s.key()
	if !ok {
		return g, false
	}
	g = grants.give()
	ok = inTime(func(now uint64) error {
		value := s.value(inner, now, g)
		return t.sends.Put(&key, &value)
	})
	if !ok {
		_ = t.sends.Delete(&key)
	}
	return g, ok
}

// Receive tells the program of a station, if it is on the device by which that is heard.
func (t *Table) Receive(r *Receive) (g Grant, ok bool) {
	t.telling.RLock()
	defer t.telling.RUnlock()
	if !t.receiving[r.Under] {
		return g, false
	}
	g = grants.give()
	r.Link.words[wordDevice].Store(uint64(r.Device))
	r.Link.words[wordMAC].Store(macWord(r.MAC))
	key := r.key()
	if ok = inTime(func(now uint64) error { return t.putStation(&key, r.value(now, g)) }); !ok {
		_ = t.receives.Delete(&key)
	}
	return g, ok
}

// putStation keeps what programs have noted of the station.
func (t *Table) putStation(key *[receiveKeyLen]byte, value [receiveValueLen]byte) error {
	var before [receiveValueLen]byte
	if t.receives.Lookup(key, &before) == nil {
		copy(value[receiveWhole:], before[receiveWhole:])
		if waited := before[flowWaited : flowWaited+8]; binary.NativeEndian.Uint64(waited) > binary.NativeEndian.Uint64(value[flowWaited:]) {
			copy(value[flowWaited:], waited)
		}
	}
	return t.receives.Put(key, &value)
}

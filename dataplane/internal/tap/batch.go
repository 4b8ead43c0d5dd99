// Package tap is the device side of the dataplane: a TAP interface that frames
// are read from in batches and written to, whole or as super-frames, with the
// kernel's virtio-net header where the device can have one and through
// songgao/water where it cannot.
package tap

import (
	"errors"

	"github.com/weftnet/weft/encap"
)

// ErrClosed says that the device was deleted or closed.
var ErrClosed = errors.New("device is gone")

// ErrDown says that a frame was not delivered because the device is down.
var ErrDown = errors.New("device is down")

// Bounds of one batch: frames, and bytes after which no more are read.
const (
	maxFrames  = 64
	batchBytes = 64 << 10
	// An Ethernet header, two VLAN tags, and the largest IP packet.
	maxFrame = 14 + 8 + 65535
)

// Batch holds the frames of one wake-up, read one behind the other into one
// buffer, each with room in front for what its device's frames are sent with,
// mostly a VXLAN header:
//
//	| VXLAN (8) | frame 0 | VXLAN (8) | frame 1 | …
//
// A run of equal frames to one peer is therefore one stretch of memory when it
// is sent. The frames are the Batch's: valid until it is read into again.
type Batch struct {
	Packets  []encap.Packet
	headroom int   // in front of each frame that is read
	start    []int // of each frame's headroom in buffer
	buffer   []byte
	used     int
}

// NewBatch returns a Batch with all the memory that it will ever need.
func NewBatch() *Batch {
	return &Batch{
		Packets: make([]encap.Packet, 0, maxFrames),
		start:   make([]int, 0, maxFrames),
		buffer:  make([]byte, firstHeadroom+batchBytes+MaxHeadroom+maxFrame),
	}
}

// Datagram returns frame i with the headroom in front of it. Its capacity goes
// on over the frames behind it, which is how a sender sees that they adjoin.
func (b *Batch) Datagram(i int) []byte {
	from, end := b.start[i], b.used
	if i+1 < len(b.start) {
		end = b.start[i+1]
	}
	return b.buffer[from:end]
}

func (b *Batch) reset(headroom int) {
	b.Packets, b.start, b.used, b.headroom = b.Packets[:0], b.start[:0], firstHeadroom, headroom
}

// Reset empties a batch that is filled by Put.
func (b *Batch) Reset() { b.reset(0) }

// Put adds a copy of a frame that was not read from a device, with room in front as
// for one that was. It may not be called when the batch is full.
func (b *Batch) Put(frame []byte, headroom int) {
	b.headroom = headroom
	b.push(copy(b.room(0), frame), encap.GSO{})
}

// Full reports whether the device may have more frames than it had room for.
func (b *Batch) Full() bool {
	return len(b.Packets) == maxFrames || b.used-firstHeadroom >= batchBytes
}

// room returns where the next frame is read to, extra bytes of header before
// it included: those overlap the headroom and what is in front of it.
func (b *Batch) room(extra int) []byte {
	from := b.used + b.headroom - extra
	return b.buffer[from : from+extra+maxFrame]
}

// push records a frame of n bytes at the place that room gave.
func (b *Batch) push(n int, gso encap.GSO) {
	from := b.used + b.headroom
	b.start = append(b.start, b.used)
	b.Packets = append(b.Packets, encap.Packet{Frame: b.buffer[from : from+n : from+n], GSO: gso})
	b.used = from + n
}

const (
	// MaxHeadroom is the most that there can be in front of a frame.
	MaxHeadroom = encap.HeaderLen + encap.EtherHeaderLen

	// firstHeadroom lies in front of the first headroom, because a virtio-net
	// header can be longer than that is.
	firstHeadroom = 16
)

//go:build !linux || portable

package tap

import (
	"github.com/songgao/water"

	"github.com/weftnet/weft/encap"
)

// handle is empty: everything goes through water.
type handle struct{}

// open creates the interface that d describes, or takes the adapter of that
// name, see Adopts. It carries single frames without a virtio-net header, as
// water made it; the switch is for systems where there is a choice.
func open(name string, _ bool, d *Device) (*Device, error) {
	w, err := water.New(water.Config{DeviceType: d.deviceType(), PlatformSpecificParams: waterParams(name, d.tun)})
	if err != nil {
		return nil, explainOpen(name, err)
	}
	d.water = w
	d.out.frame = make([]byte, 0, maxFrame)
	return d, nil
}

// Restrict has nothing to give up.
func (d *Device) Restrict(_, _ bool) {}

// Name returns what the system called the interface when it was opened.
func (d *Device) Name() string { return d.water.Name() }

// FD stands for the descriptor, which water keeps to itself: it only tells
// this device from other sources of packets.
func (d *Device) FD() any { return d }

// Close lets go of the interface, which is deleted with that where Open
// created it, and ends a Read that waits.
func (d *Device) Close() error { return d.water.Close() }

// Read waits for a frame and replaces the batch with it. It returns ErrClosed
// when the device was deleted or closed.
func (d *Device) Read(b *Batch) error {
	b.reset(d.headroom)
	d.Reads.Add(1)
	n, err := d.water.Read(b.room(0))
	if err != nil {
		return portableError(err)
	}
	b.push(n, encap.GSO{})
	return nil
}

// Write gives a frame to the device, or the segments of a super-frame. It
// returns ErrDown or ErrClosed, or what the system minds about the frame.
func (d *Device) Write(f *encap.Coalesced) error { return d.writeCut(f) }

// writePlain writes one finished frame.
func (d *Device) writePlain(frame []byte) error {
	d.Writes.Add(1)
	_, err := d.water.Write(frame)
	return portableError(err)
}

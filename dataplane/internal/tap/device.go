package tap

import (
	"github.com/songgao/water"

	"github.com/weftnet/weft/dataplane/internal/count"
	"github.com/weftnet/weft/encap"
)

// Device is one TAP or TUN interface; what is called a frame here is a bare IP
// packet of a TUN. Read and Write are for one goroutine.
type Device struct {
	Reads  count.Counter // system calls
	Writes count.Counter
	GSO    count.Counter // TCP super-frames in either direction
	USO    count.Counter // UDP super-frames

	// OnDowngrade is called once when the kernel turns out not to take
	// super-frames after all; from then on they are cut before the write.
	OnDowngrade func(error)

	handle   handle
	water    *water.Interface // nil where frames have a virtio-net header
	offers   Offloads
	tun      bool
	headroom int // in front of frames that are read
	out      writer
}

// Open creates a TAP interface called name, which must not exist yet, and which
// vanishes with the Device. With portable it is left as songgao/water made it,
// and so it is where the kernel refuses a virtio-net header. The header's
// refusal is not an error; Offloads tells. Frames that are read have room for a
// VXLAN header in front.
func Open(name string, portable bool) (*Device, error) {
	return open(name, portable, &Device{headroom: encap.HeaderLen})
}

// OpenTUN creates a TUN interface likewise, and has headroom bytes in front of
// its packets, at most MaxHeadroom.
func OpenTUN(name string, portable bool, headroom int) (*Device, error) {
	return open(name, portable, &Device{tun: true, headroom: headroom})
}

// deviceType is what songgao/water calls the kind of device.
func (d *Device) deviceType() water.DeviceType {
	if d.tun {
		return water.TUN
	}
	return water.TAP
}

// parse finds the headers of a frame.
func (d *Device) parse(frame []byte) encap.Layout {
	if d.tun {
		return encap.ParsePacket(frame)
	}
	return encap.ParseFrame(frame)
}

// Offloads say what the kernel does for the device.
type Offloads struct {
	Header bool // frames carry a virtio-net header
	TCP    bool // it gives and takes TCP super-frames
	UDP    bool // and UDP ones (Linux 6.2)
}

// Offloads returns what is in use.
func (d *Device) Offloads() Offloads { return d.offers }

// count notes that a super-frame passed.
func (d *Device) count(t encap.GSOType) {
	switch t {
	case encap.GSOTCP4, encap.GSOTCP6:
		d.GSO.Add(1)
	case encap.GSOUDP:
		d.USO.Add(1)
	}
}

// writeCut writes what the device does not take whole: super-frames are cut,
// checksums completed. It is the only way for a device without the header.
func (d *Device) writeCut(f *encap.Coalesced) error {
	l := d.parse(f.Frame)
	if f.GSO.Type == encap.GSONone {
		if f.GSO.NeedsCsum {
			if err := encap.FinishChecksum(&f.Packet, &l); err != nil {
				return err
			}
		}
		return d.writePlain(f.Frame)
	}
	whole := encap.Packet{Frame: d.out.join(f), GSO: f.GSO}
	l = d.parse(whole.Frame)
	segments, err := encap.CutSuperFrame(&whole, &l)
	if err != nil {
		return err
	}
	for i := range segments.Count() {
		frame := d.out.frame[:segments.HeaderLen()]
		frame = append(frame, segments.Put(i, frame)...)
		if err := d.writePlain(frame); err != nil {
			return err
		}
	}
	return nil
}

// writer has the memory that writes need beyond the frames themselves.
type writer struct {
	frame []byte // one segment
	whole []byte // one super-frame in one piece
}

// join returns the super-frame in one piece, valid until the next join.
func (w *writer) join(f *encap.Coalesced) []byte {
	if len(f.Tail) == 0 {
		return f.Frame
	}
	w.whole = append(w.whole[:0], f.Frame...)
	for _, part := range f.Tail {
		w.whole = append(w.whole, part...)
	}
	return w.whole
}

// Headroom is how many bytes there are in front of each frame that is read.
func (d *Device) Headroom() int { return d.headroom }

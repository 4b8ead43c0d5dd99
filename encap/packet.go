package encap

// Packet is one inner frame on its way through weft, whole or as a
// super-frame. It is what devices hand to the dataplane and what the dataplane
// hands to devices.
//
// Frame is always borrowed: it points into a buffer of whoever produced the
// Packet and is valid until that producer is asked for more (the next read of
// the device, the next receive of the socket). Whoever takes a Packet may
// change the bytes of Frame in place, must not append to it, and must be done
// with it when its call returns.
type Packet struct {
	Frame []byte
	GSO   GSO
}

// GSOType says what kind of super-frame a Packet is.
type GSOType uint8

// The kinds of super-frames that the kernel and weft exchange.
const (
	GSONone GSOType = iota // one frame
	GSOTCP4                // TCP over IPv4 (TSO)
	GSOTCP6                // TCP over IPv6 (TSO6)
	GSOUDP                 // UDP datagrams of one size over IPv4 or IPv6 (USO)
)

// GSO describes what is still to be done to a frame: its checksum, its
// segmentation, or both. It is the virtio-net header in the terms that weft
// needs; offsets count from Frame[0]. The zero GSO is a finished frame.
type GSO struct {
	Type GSOType
	Size uint16 // payload bytes in each segment but the last; 0 if Type is GSONone

	// NeedsCsum says that the checksum field at CsumStart+CsumOffset holds the
	// sum of the pseudo-header only, folded and not complemented. Super-frames
	// always have it.
	NeedsCsum  bool
	CsumStart  uint16 // where the TCP or UDP header begins
	CsumOffset uint16 // of the checksum field, from there
	HeaderLen  uint16 // bytes in front of the payload
}

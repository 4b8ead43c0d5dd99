package encap

// SplitDatagram returns how many bytes of data, as one receive call returned
// them, make up the first VXLAN packet; the caller goes on behind them. segment
// is what the kernel's UDP_GRO message says, 0 if it says nothing.
//
// Usually data is several datagrams of segment bytes. But when the sender was
// the kernel's own vxlan device on the same machine, data can be one VXLAN
// packet with a UDP super-frame inside, and segment is then the payload size
// inside that one: the inner IP length tells which (probed on 6.18).
func SplitDatagram(data []byte, segment int) int {
	if segment <= 0 || segment >= len(data) {
		return len(data)
	}
	if len(data) < HeaderLen+EtherHeaderLen {
		return segment
	}
	frame := data[HeaderLen:]
	if l := ParseFrame(frame); l.Version != 0 && l.End == len(frame) && l.innerIs(frame) {
		return len(data)
	}
	return segment
}

// innerIs reports whether the IP header at l claims all of the frame, rather
// than having been clipped to it.
func (l *Layout) innerIs(frame []byte) bool {
	ip := frame[l.L3:]
	length := int(ip[2])<<8 | int(ip[3])
	if l.Version == 6 {
		length = ipv6HeaderLen + (int(ip[4])<<8 | int(ip[5]))
	}
	return l.L3+length == len(frame)
}

// DescribeReceived tells what the GSO description of a received frame must be
// for the local stack to accept it. mtu is the link's, in bytes of IP packet;
// segment is the kernel's UDP_GRO value if the frame was alone in its receive
// call, else 0.
//
// A sender on the same machine leaves checksums to be completed and
// super-frames to be cut. A frame that has a complete checksum is what it is,
// however large.
func DescribeReceived(frame []byte, l *Layout, mtu, segment int) GSO {
	g := DescribeSent(frame, l)
	if !g.NeedsCsum {
		return g
	}
	// Of UDP a super-frame can be smaller than the MTU, and must be cut all the
	// same: each segment is a datagram of its own.
	if l.Proto == protoUDP && segment > 0 && segment < l.End-l.Payload {
		g.Type, g.Size = GSOUDP, uint16(segment)
		return g
	}
	if l.End-l.L3 <= mtu {
		return g
	}
	size := mtu - (l.Payload - l.L3)
	switch {
	case l.Proto == protoTCP && size > 0 && l.Version == 4:
		g.Type, g.Size = GSOTCP4, uint16(size)
	case l.Proto == protoTCP && size > 0:
		g.Type, g.Size = GSOTCP6, uint16(size)
	}
	return g
}

// DescribeSent tells the GSO description of a frame that is no super-frame, where
// nothing but the frame tells: whether its checksum was left to be completed.
//
// One in 65536 that is complete looks as if it were not. To complete it again gives
// the same.
func DescribeSent(frame []byte, l *Layout) GSO {
	if l.L4 == 0 || !isPartial(frame, l) {
		return GSO{}
	}
	return GSO{
		NeedsCsum:  true,
		CsumStart:  uint16(l.L4),
		CsumOffset: uint16(l.csumOffset()),
		HeaderLen:  uint16(l.Payload),
	}
}

//go:build !portable

package underlay

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlBuffer has room for the four control messages that a datagram can
// need, on 64-bit machines: 24 + 24 + 24 + 40 bytes.
type controlBuffer [128]byte

const (
	solUDP     = unix.SOL_UDP
	udpSegment = unix.UDP_SEGMENT // control message: uint16
	udpGRO     = unix.UDP_GRO     // control message: int32 (4 bytes, probed)
)

// putControl writes the control messages for a message and returns how many
// bytes they take. What the socket does by default gets none. segment is the
// UDP_SEGMENT size, 0 for a single datagram.
func putControl(b *controlBuffer, o *Outer, segment int, ipv6 bool) int {
	c := controlWriter{b: b}
	if segment > 0 {
		binary.NativeEndian.PutUint16(c.next(solUDP, udpSegment, 2), uint16(segment))
	}
	level, tos, ttl := unix.IPPROTO_IP, unix.IP_TOS, unix.IP_TTL
	if ipv6 {
		level, tos, ttl = unix.IPPROTO_IPV6, unix.IPV6_TCLASS, unix.IPV6_HOPLIMIT
	}
	if o.TOS != 0 {
		binary.NativeEndian.PutUint32(c.next(level, tos, 4), uint32(o.TOS))
	}
	if o.TTL != 0 {
		binary.NativeEndian.PutUint32(c.next(level, ttl, 4), uint32(o.TTL))
	}
	if o.Local.IsValid() || o.IfIndex != 0 {
		c.putSource(o, ipv6)
	}
	return c.used
}

// putSource asks for a source address, an output device, or both.
func (c *controlWriter) putSource(o *Outer, ipv6 bool) {
	if ipv6 {
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&c.next(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)[0]))
		*info = unix.Inet6Pktinfo{Ifindex: uint32(o.IfIndex)}
		if o.Local.IsValid() {
			info.Addr = o.Local.As16()
		}
		return
	}
	info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&c.next(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)[0]))
	*info = unix.Inet4Pktinfo{Ifindex: int32(o.IfIndex)}
	if o.Local.IsValid() {
		info.Spec_dst = o.Local.As4()
	}
}

// controlWriter appends control messages to a buffer.
type controlWriter struct {
	b    *controlBuffer
	used int
}

// next starts a message and returns the n bytes of its data.
func (c *controlWriter) next(level, kind, n int) []byte {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c.b[c.used]))
	h.Level, h.Type = int32(level), int32(kind)
	h.SetLen(unix.CmsgLen(n))
	data := c.b[c.used+unix.CmsgLen(0):][:n]
	c.used += unix.CmsgSpace(n)
	return data
}

// readControl takes what the kernel tells about a received message.
func readControl(b []byte, d *Datagram) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		size := int(h.Len)
		if size < unix.CmsgLen(0) || size > len(b) {
			return
		}
		data := b[unix.CmsgLen(0):size]
		switch {
		case h.Level == solUDP && h.Type == udpGRO && len(data) >= 4:
			d.Segment = int(int32(binary.NativeEndian.Uint32(data)))
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) >= 1:
			d.TOS = data[0]
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			d.TOS = uint8(binary.NativeEndian.Uint32(data))
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
			d.To, d.Device = netip.AddrFrom4(info.Addr), int(info.Ifindex)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			d.To, d.Device = netip.AddrFrom16(info.Addr), int(info.Ifindex)
		}
		b = b[min(len(b), unix.CmsgSpace(len(data))):]
	}
}

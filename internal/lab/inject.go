//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"
)

// DatagramOptions say what is unusual about a datagram. The zero value is what
// a UDP socket would send.
type DatagramOptions struct {
	TOS         uint8 // all eight bits, ECN included
	TTL         int   // 0 = the system's
	DF          bool
	NoChecksum  bool // the UDP checksum is 0, over IPv6 too
	BadChecksum bool // it is wrong
}

// SendUDP sends one datagram from the host with a source address and port
// that need not be its own. One above the MTU is fragmented, unless DF is set.
func (h *Host) SendUDP(src, dst netip.AddrPort, payload []byte, o DatagramOptions) error {
	segment, err := udpSegment(src, dst, payload, o)
	if err != nil {
		return fmt.Errorf("building a datagram to %v: %w", dst, err)
	}
	return h.Do(func() error {
		if err := sendRaw(src.Addr(), dst.Addr(), segment, o); err != nil {
			return fmt.Errorf("sending %d bytes to %v: %w", len(payload), dst, err)
		}
		return nil
	})
}

// udpSegment is the UDP header and the payload.
func udpSegment(src, dst netip.AddrPort, payload []byte, o DatagramOptions) ([]byte, error) {
	udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	if err := udp.SetNetworkLayerForChecksum(networkLayer(src.Addr(), dst.Addr())); err != nil {
		return nil, err
	}
	buf := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, options, udp, gopacket.Payload(payload)); err != nil {
		return nil, err
	}
	segment := buf.Bytes()
	switch sum := segment[6:8]; {
	case o.NoChecksum:
		sum[0], sum[1] = 0, 0
	case o.BadChecksum:
		// One bit over, and not into 0, which would mean that there is none.
		if sum[1] ^= 1; sum[0] == 0 && sum[1] == 0 {
			sum[0] = 1
		}
	}
	return segment, nil
}

func networkLayer(src, dst netip.Addr) gopacket.NetworkLayer {
	if dst.Is4() {
		return &layers.IPv4{SrcIP: src.AsSlice(), DstIP: dst.AsSlice(), Protocol: layers.IPProtocolUDP}
	}
	return &layers.IPv6{SrcIP: src.AsSlice(), DstIP: dst.AsSlice(), NextHeader: layers.IPProtocolUDP}
}

// sendRaw has the kernel put the IP header before segment, and fragment it.
func sendRaw(src, dst netip.Addr, segment []byte, o DatagramOptions) error {
	family, level, transparent := unix.AF_INET, unix.SOL_IP, unix.IP_TRANSPARENT
	if dst.Is6() {
		family, level, transparent = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	// Transparent sockets may send from addresses that the host does not have.
	err = unix.SetsockoptInt(fd, level, transparent, 1)
	ip := PingOptions{DF: o.DF, TOS: o.TOS, TTL: o.TTL}
	if err := errors.Join(err, ip.apply(fd, dst.Is6())); err != nil {
		return err
	}
	if err := unix.Bind(fd, sockaddr(src)); err != nil {
		return err
	}
	return unix.Sendto(fd, segment, 0, sockaddr(dst))
}

// sockaddr is an address without a port: raw IPv6 sockets refuse one.
func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	sa := &unix.SockaddrInet6{Addr: a.As16()}
	if ifi, err := net.InterfaceByName(a.Zone()); err == nil {
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa
}

// SendFrame sends frames, each of which begins with its Ethernet header, out of
// a device of the host. Many at once are quicker: the kernel takes its time to
// close a packet socket.
func (h *Host) SendFrame(dev string, frames ...[]byte) error {
	link, err := h.link(dev)
	if err != nil {
		return err
	}
	return h.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		for _, f := range frames {
			to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Protocol: protocolOf(f)}
			if err := unix.Sendto(fd, f, 0, to); err != nil {
				return fmt.Errorf("sending a frame of %d bytes out of %s: %w", len(f), dev, err)
			}
		}
		return nil
	})
}

// protocolOf is the frame's EtherType, in network order as it stands there.
func protocolOf(frame []byte) uint16 {
	const at = 12
	if len(frame) < at+2 {
		return 0
	}
	return bigEndian16(uint16(frame[at])<<8 | uint16(frame[at+1]))
}

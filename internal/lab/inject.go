//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

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
	segment := udpSegment(src, dst, payload, o)
	return h.Do(func() error {
		if err := sendRaw(src.Addr(), dst.Addr(), segment, o); err != nil {
			return fmt.Errorf("sending %d bytes to %v: %w", len(payload), dst, err)
		}
		return nil
	})
}

// udpSegment is the UDP header and the payload.
func udpSegment(src, dst netip.AddrPort, payload []byte, o DatagramOptions) []byte {
	length := udpHeaderLen + len(payload)
	segment := make([]byte, udpHeaderLen, length)
	binary.BigEndian.PutUint16(segment, src.Port())
	binary.BigEndian.PutUint16(segment[2:], dst.Port())
	binary.BigEndian.PutUint16(segment[4:], uint16(length))
	segment = append(segment, payload...)
	if o.NoChecksum {
		return segment
	}
	pseudo := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_UDP, segment[4], segment[5])
	sum := ^OnesSum(pseudo, segment)
	if o.BadChecksum {
		sum ^= 1
	}
	if sum == 0 {
		sum = 0xffff // 0 would mean that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(segment[6:], sum)
	return segment
}

const udpHeaderLen = 8

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

// SendFrame sends frames, each of which begins with its Ethernet header, or with
// its IP header if the device is a TUN, out of a device of the host. Many at once
// are quicker: the kernel takes its time to close a packet socket.
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
			to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Protocol: protocolOf(f, hasNoLink(link))}
			if err := unix.Sendto(fd, f, 0, to); err != nil {
				return fmt.Errorf("sending a frame of %d bytes out of %s: %w", len(f), dev, err)
			}
		}
		return nil
	})
}

// protocolOf is the frame's EtherType, in network order as it stands there, or that
// of the IP packet which it is.
func protocolOf(frame []byte, noLink bool) uint16 {
	const at = 12
	if noLink {
		return protocolOfPacket(frame)
	}
	if len(frame) < at+2 {
		return 0
	}
	return bigEndian16(uint16(frame[at])<<8 | uint16(frame[at+1]))
}

func protocolOfPacket(packet []byte) uint16 {
	if len(packet) > 0 && packet[0]>>4 == 6 {
		return bigEndian16(unix.ETH_P_IPV6)
	}
	return bigEndian16(unix.ETH_P_IP)
}

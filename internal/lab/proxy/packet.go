//go:build linux

package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab/dissect"
)

// What the headers have at least.
const headerLen4, headerLen6 = 20, 40

// destination is that of an IP packet, the zero Addr if it is none.
func destination(packet []byte) netip.Addr {
	switch {
	case len(packet) >= headerLen4 && packet[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(packet[16:20]))
	case len(packet) >= headerLen6 && packet[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(packet[24:40]))
	}
	return netip.Addr{}
}

// hop takes one off a packet's TTL, as flannel's proxy does at both ends, and
// reports whether the packet goes on. IPv6, which that one has not, is let be.
func hop(packet []byte) bool {
	if len(packet) < headerLen4 {
		return false
	}
	if packet[0]>>4 != 4 {
		return true
	}
	packet[8]--
	sum := uint32(binary.BigEndian.Uint16(packet[10:])) + 0x100
	if sum >= 0xffff { // ones' complement
		sum++
	}
	binary.BigEndian.PutUint16(packet[10:], uint16(sum))
	return packet[8] != 0
}

// Greeting is the bytes of encap.AppendGreeting, written out here once more.
const Greeting = "\x00weft\x00\x00\x01"

// Seen is what came over the socket.
type Seen struct {
	Datagrams int
	Greeted   int      // of them had a greeting behind
	Wrong     []string // what they should not be
}

// Seen is what came until now.
func (p *Proxy) Seen() Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// note looks at a datagram.
func (p *Proxy) note(b []byte) {
	packet := strings.TrimSuffix(string(b), Greeting)
	err := usable([]byte(packet), p.mtu)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.Datagrams++
	if len(packet) < len(b) {
		p.seen.Greeted++
	}
	if err != nil || len(b) > p.mtu {
		p.seen.Wrong = append(p.seen.Wrong, fmt.Sprintf("%d bytes, % x…: %v", len(b), b[:min(len(b), 40)], err))
	}
}

// usable says what is wrong with a packet for a device that does nothing about it.
func usable(packet []byte, mtu int) error {
	if len(packet) == 0 || len(packet) > mtu {
		return fmt.Errorf("%d bytes", len(packet))
	}
	p := gopacket.NewPacket(packet, layers.LinkTypeRaw, gopacket.Default)
	if p.NetworkLayer() == nil || p.ErrorLayer() != nil {
		return errors.New("no IP packet")
	}
	if n := len(p.NetworkLayer().LayerContents()) + len(p.NetworkLayer().LayerPayload()); n != len(packet) {
		return fmt.Errorf("%d bytes around a packet of %d", len(packet), n)
	}
	return dissect.VerifyChecksums(p)
}

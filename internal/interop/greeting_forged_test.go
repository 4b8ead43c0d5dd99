package interop

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
)

// forgedGreeting is a datagram with something like a greeting, and what comes of it.
type forgedGreeting struct {
	name    string
	payload string
	out     string // the packet that comes out; "" if none does
	reason  string // of the drop; "" if it is none
}

// forgedGreetings are such datagrams around a good packet.
func forgedGreetings(good string) []forgedGreeting {
	last := len(good)
	cut := good[:last-len(greeting)] + greeting
	cases := []forgedGreeting{
		{"alone", greeting, "", ""},
		{"alone, with more said", greeting[:7] + "\xff", "", ""},
		{"behind a packet", good + greeting, good, ""},
		{"behind a packet, cut", good + greeting[:7], good, ""},
		{"behind a packet, twice", good + greeting + greeting, good, ""},
		{"behind a packet, and more", good + greeting + "\x00", good, ""},
		{"behind a packet, nothing said", good + greeting[:7] + "\x00", good, ""},
		{"in a packet", cut, cut, ""},
		{"behind a packet that is cut", good[:last-len(greeting)-1] + greeting, "", "bad_length"},
		{"behind a header that is cut", good[:12] + greeting, "", "bad_length"},
		{"in front of a packet", greeting + good, "", "not_ip"},
		{"nothing said", greeting[:7] + "\x00", "", "not_ip"},
		{"another version", greeting[:5] + "\x01" + greeting[6:], "", "not_ip"},
		{"twice", greeting + greeting, "", "not_ip"},
		{"empty", "", "", "bad_length"},
	}
	for n := 1; n < len(greeting); n++ {
		cases = append(cases, forgedGreeting{fmt.Sprintf("%d bytes", n), greeting[:n], "", "not_ip"})
	}
	return cases
}

// TestGreetingForged sends greetings and what is like them, from the peer and from
// others: nothing comes out but the packets that they are behind, and what is neither
// a packet nor a greeting counts as it did before there were any.
func TestGreetingForged(t *testing.T) {
	t.Parallel()
	for i, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a := newRoutedAlone(t, "udp", u, nil)
			good := string(inner{v6: i == 1, size: 100, srcPort: 1000, dstPort: 2000}.packet(t))
			for _, from := range []netip.Addr{a.b, a.elsewhere().Addr(), a.elsewhere().Addr().Next()} {
				before, seen := a.figures(t), len(a.inside.Frames())
				var want []string
				drops := map[string]uint64{}
				for _, c := range forgedGreetings(good) {
					check(t, a.peer.SendUDP(netip.AddrPortFrom(from, 40000), netip.AddrPortFrom(a.a, a.port), []byte(c.payload), lab.DatagramOptions{}))
					if c.reason != "" {
						drops[c.reason]++
					}
					if c.out != "" {
						want = append(want, c.out)
					}
				}
				a.cameOut(t, seen, want)
				a.received(t, before, len(want)+1) // and the fence
				now := a.figures(t).since(before)
				for reason, n := range now.weft.Drops {
					if n != drops[reason] {
						t.Errorf("from %v: %d count as %s, want %d", from, n, reason, drops[reason])
					}
				}
				if now.txPackets != 0 {
					t.Errorf("from %v: %d packets count as sent, want none", from, now.txPackets)
				}
			}
			a.weft.must("link", "set", a.link, "type", "udp", "allow-sources", "192.0.2.0/24")
			before := a.figures(t)
			a.forge(t, []byte(greeting), lab.DatagramOptions{})
			a.forge(t, []byte(good+greeting), lab.DatagramOptions{})
			a.weft.drops(before.weft, "source_not_allowed", 2)
		})
	}
}

// cameOut wants these packets to have come out of the link since, in this order, once
// one more has. What another address has sent may come behind that one.
func (a *alone) cameOut(t *testing.T, seen int, want []string) {
	t.Helper()
	a.fences++
	fence := string(inner{size: 2 * a.fences, srcPort: 7, dstPort: 7}.packet(t))
	a.forge(t, []byte(fence), lab.DatagramOptions{})
	a.delivered(t, []byte(fence))
	if err := lab.Eventually(waitLimit, func() error {
		var got []string
		for _, f := range a.inside.Frames()[seen:] {
			if !f.Outgoing && string(f.Data) != fence {
				got = append(got, string(f.Data))
			}
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("% x came out, want % x", got, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestGreetingInRun has a run of datagrams arrive of which some have a greeting behind
// their packet: the bytes of TCP come out in their order, and none of a greeting.
func TestGreetingInRun(t *testing.T) {
	t.Parallel()
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a := newRoutedAlone(t, "udp", u, nil)
			offloadsOn.apply(t, a.vtep)
			check(t, a.peer.SetOffloads("eth0", lab.OffloadsOn()))
			c := openUDP(t, a.peer, netip.AddrPortFrom(a.b, 0))
			defer c.Close()
			const size = 100
			check(t, setSegment(c, size))
			before := a.figures(t)
			// Bit i of a pattern says whether segment i has a greeting.
			for pattern := range 32 {
				var text, datagrams string
				for i := range 5 {
					greets := pattern>>i&1 == 1
					n := size - 40
					if greets {
						n -= len(greeting)
					}
					payload := strings.Repeat(string(rune('a'+i)), n)
					datagrams += tcpPacket(t, uint32(1000+len(text)), payload)
					if text += payload; greets {
						datagrams += greeting
					}
				}
				seen := len(a.inside.Frames())
				_, err := c.WriteToUDPAddrPort([]byte(datagrams), netip.AddrPortFrom(a.a, a.port))
				check(t, err)
				a.streamCame(t, seen, text)
			}
			if now := a.figures(t).since(before); now.lost(figures{}) > 0 {
				t.Errorf("dropped %v", now.weft.Drops)
			}
		})
	}
}

// tcpPacket is a segment of a stream.
func tcpPacket(t *testing.T, seq uint32, payload string) string {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, Flags: layers.IPv4DontFragment, SrcIP: flowEnds4[0].AsSlice(), DstIP: flowEnds4[1].AsSlice()}
	tcp := &layers.TCP{SrcPort: 1000, DstPort: 2000, Seq: seq, Ack: 1, ACK: true, Window: 1000}
	check(t, tcp.SetNetworkLayerForChecksum(ip))
	b := gopacket.NewSerializeBuffer()
	check(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, tcp, gopacket.Payload(payload)))
	return string(b.Bytes())
}

// streamCame waits for a stream's bytes to come out since, and wants those alone.
func (a *alone) streamCame(t *testing.T, seen int, want string) {
	t.Helper()
	var got string
	check(t, lab.Eventually(waitLimit, func() error {
		got = ""
		for _, f := range a.inside.Frames()[seen:] {
			if !f.Outgoing && binary.BigEndian.Uint32(f.Data[24:]) == uint32(1000+len(got)) {
				got += string(f.Data[40:])
			}
		}
		if len(got) < len(want) {
			return fmt.Errorf("%q came out, want %q", got, want)
		}
		return nil
	}))
	if got != want {
		t.Fatalf("%q came out, want %q", got, want)
	}
}

// TestGreetingFlood has thousands of addresses greet, the link's own among them, alone
// and behind packets, in the midst of a transfer: nothing is dropped, and the kernel
// carries flows as before.
func TestGreetingFlood(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for i, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a, b := connectUDP(t, u)
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			before, r := newMeter(t, a, b), rand.New(rand.NewPCG(1, 2))
			good := string(inner{v6: i == 0, size: 10}.packet(t))
			for n := range 3000 {
				from := forgedSource(u, r)
				if n%100 == 0 {
					from = []netip.Addr{u.a, u.b}[n/100%2]
				}
				payload := greeting
				if n%2 == 1 {
					payload = good + greeting
				}
				check(t, b.SendUDP(netip.AddrPortFrom(from, flannelPort), netip.AddrPortFrom(u.a, flannelPort), []byte(payload), lab.DatagramOptions{}))
			}
			m := newMeter(t, a, b)
			check(t, lab.Eventually(2*waitLimit, func() error {
				transfer(t, a, b, nodesB[i], 16*mib+1)
				transfer(t, b, a, nodesA[i], 16*mib+1)
				return m.pastProcess(8)
			}))
			before.checkDrops(t)
		})
	}
}

// forgedSource is some address of the underlay's.
func forgedSource(u underlay, r *rand.Rand) netip.Addr {
	b := u.b.AsSlice()
	b[len(b)-1], b[len(b)-2] = byte(r.Uint32()), byte(r.Uint32())
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

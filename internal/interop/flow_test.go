package interop

import (
	"fmt"
	"net"
	"slices"
	"testing"
)

// aloneAs lists frames that have to leave by one source port.
type aloneAs struct {
	name   string
	frames [][]byte
	only   kind // "" = both; the other one does otherwise
}

// oneFlow are those lists, for each kind of inner packet.
func oneFlow(t *testing.T) (cases []aloneAs) {
	for _, p := range []struct {
		name string
		inner
	}{
		{"UDP over IPv4", inner{srcPort: 1234, dstPort: 53}},
		{"TCP over IPv4", inner{srcPort: 1234, dstPort: 80, tcp: true}},
		{"UDP over IPv6", inner{srcPort: 1234, dstPort: 53, v6: true}},
		{"TCP over IPv6", inner{srcPort: 1234, dstPort: 80, v6: true, tcp: true}},
	} {
		cases = append(cases,
			aloneAs{name: p.name + ", both directions", frames: directions(t, p.inner)},
			aloneAs{name: p.name + ", other MAC addresses", frames: otherMACs(p.frame(t, 1))},
			aloneAs{name: p.name + ", other TOS, TTL and length", frames: variants(t, p.inner)},
			aloneAs{name: p.name + ", fragments of two flows", frames: fragments(t, p.inner)},
			// The kernel takes the wrong bytes for headers behind a tag.
			aloneAs{name: p.name + ", behind VLAN tags", frames: behindTags(p.frame(t, 1)), only: user},
		)
	}
	for _, etherType := range []uint16{typeLocal, typeARP} {
		frames := otherMACs(ether(1, etherType, make([]byte, 28)))
		frames = append(frames, ether(2, etherType, []byte("some twenty-eight bytes more")))
		cases = append(cases, aloneAs{name: fmt.Sprintf("type %#04x", etherType), frames: frames})
	}
	return cases
}

// TestSourcePortOfFlow puts frames on one link that belong together, or differ
// only in what does not matter.
func TestSourcePortOfFlow(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(string(k)+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a := newAlone(t, k, u, nil)
				for _, v6 := range []bool{false, true} {
					if n := len(a.portsOf(t, flows(t, manyFlows, v6))); n < manyPorts {
						t.Errorf("%d flows have %d source ports, want %d at least", manyFlows, n, manyPorts)
					}
				}
				for _, c := range oneFlow(t) {
					if c.only != "" && c.only != k {
						continue
					}
					if ports := a.portsOf(t, c.frames); len(ports) != 1 {
						t.Errorf("%s: source ports %v, want one", c.name, ports)
					}
				}
			})
		}
	}
}

// directions are a packet and its reply.
func directions(t *testing.T, p inner) [][]byte {
	there := p.frame(t, 1)
	p.reply = true
	return [][]byte{there, p.frame(t, 2)}
}

func otherMACs(frame []byte) [][]byte {
	all := [][]byte{frame}
	for i := range 8 {
		mac := net.HardwareAddr{0x02, 0xaa, byte(i * 37), 0, 0, byte(i)}
		all = append(all, readdressed(frame, mac, nil), readdressed(frame, nil, mac), readdressed(frame, mac, mac[:3]))
	}
	return all
}

func variants(t *testing.T, p inner) [][]byte {
	all := [][]byte{p.frame(t, 1)}
	for i := range 8 {
		v := p
		v.tos, v.ttl, v.size = uint8(i*4), uint8(i+1), i*100
		all = append(all, v.frame(t, i+2))
	}
	return all
}

// fragments are the first, middle and last parts of packets between the same
// two hosts, of two flows.
func fragments(t *testing.T, p inner) (all [][]byte) {
	for i := range 2 {
		p.srcPort += uint16(i * 1000)
		for _, f := range []struct {
			at   uint16
			more bool
		}{{0, true}, {80, true}, {160, false}} {
			p.fragment, p.more, p.size = f.at, f.more, 60
			if f.at > 0 || !p.tcp {
				p.size = 80 - 8
			}
			all = append(all, p.frame(t, 10*i+int(f.at/80)))
		}
	}
	return all
}

func behindTags(frame []byte) [][]byte {
	all := [][]byte{frame}
	for _, id := range []uint16{1, 42, 42 | 5<<13, 4094} {
		one := tagged(frame, typeVLAN, id)
		all = append(all, one, tagged(one, typeQinQ, 7), tagged(one, typeVLAN, id+1))
	}
	return slices.Clip(all)
}

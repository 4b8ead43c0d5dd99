package conformance

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// Things that the tutorial says, or leaves unsaid, beside its lines.

// TestTutorialLargerUnderlay gives the underlay 50 bytes more than the
// containers have: then the largest of their packets goes through whole.
func TestTutorialLargerUnderlay(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			first, second := followTutorial(t, p, 1550, false)
			hosts, addrs := tutorialHosts(first, second)
			check(t, hosts[0].Ping(addrs[2], lab.PingOptions{Count: 2, Size: 1472, DF: true}).Lost())
			check(t, hosts[3].Ping(addrs[1], lab.PingOptions{Count: 2, Size: 1472, DF: true}).Lost())
		})
	}
}

// TestHundredsBehindOneVTEP has 300 stations of one VTEP be heard: all are
// learnt, or as many as maxaddress lets in, the default entry included, and the
// frames of the others come through all the same.
func TestHundredsBehindOneVTEP(t *testing.T) {
	eachOnLAN(t, func(t *testing.T, k kind, u lanUnderlay) {
		const stations = 300
		for limit, want := range map[uint32]int{0: stations, 100: 99} {
			l := newLAN(t, u, 2)
			near := l.addMember(t, 0, k, func(s *spec) { s.MaxAddress = limit })
			far := l.addMember(t, 1, kernel, nil)
			arrived := newTally(t, near.Host, near.dev)
			var frames [][]byte
			for i := range stations {
				station := net.HardwareAddr{0x02, 0, 0, 0, byte(i >> 8), byte(i)}
				frames = append(frames, ether(broadcast, station, typeLocal, make([]byte, 46)))
			}
			check(t, far.SendFrame(far.dev, frames...))
			arrived.await(t, stations, func(f lab.Frame) bool { return strings.HasPrefix(string(f.Data[6:]), "\x02\x00\x00\x00") })
			learnt := 0
			for _, line := range near.table(t) {
				if strings.HasPrefix(line, "02:00:00:00:") && strings.Contains(line, "dst "+u.address(1).Addr().String()+" self") {
					learnt++
				}
			}
			if learnt != want {
				t.Errorf("maxaddress %d: %d stations learnt, want %d", limit, learnt, want)
			}
		}
	})
}

// TestContainerMoves takes a container from one host to another, its MAC and IP
// addresses with it: a third host follows it at its first frame.
func TestContainerMoves(t *testing.T) {
	for _, kinds := range [][]kind{{user, kernel, kernel}, {kernel, user, user}, {user, user, user}, {kernel, kernel, kernel}} {
		t.Run(strings.Trim(fmt.Sprint(kinds), "[]"), func(t *testing.T) {
			t.Parallel()
			u := lanUnderlays[0]
			l := newLAN(t, u, 3)
			for i, k := range kinds {
				l.addMember(t, i, k, func(s *spec) { s.Addrs = nil })
				check(t, l.hosts[i].AddBridge("br0"))
				check(t, l.hosts[i].SetMaster("br0", "vxlan1"))
			}
			watcher := l.links[0]
			check(t, watcher.AddAddr("br0", innerAddress(0)))
			const address = "02:00:00:00:00:99"
			for i := 1; i < 3; i++ {
				pod := l.plugContainer(t, i, mac(address))
				check(t, pod.Ping(innerAddress(0).Addr(), lab.PingOptions{Count: 2}).Lost())
				watcher.awaitEntry(t, address, address+" dst "+u.address(i).Addr().String()+" self ")
				check(t, watcher.Ping(innerAddress(9).Addr(), lab.PingOptions{Count: 2}).Lost())
				check(t, l.hosts[i].Delete("c")) // it is not heard of any more
			}
		})
	}
}

// plugContainer makes the container on a host's bridge.
func (l *lan) plugContainer(t *testing.T, i int, address net.HardwareAddr) *lab.Host {
	t.Helper()
	pod := lab.TestHost(t, fmt.Sprintf("container on host%d", i))
	check(t, lab.Connect(lab.Port{Host: l.hosts[i], Dev: "c"}, lab.Port{Host: pod, MAC: address, Addrs: []netip.Prefix{innerAddress(9)}}))
	check(t, l.hosts[i].SetMaster("br0", "c"))
	return pod
}

// TestRouterBetween pings among all hosts of three bridges whose VTEPs have a
// router between them, and one another as unicast remotes: 12 pairs.
func TestRouterBetween(t *testing.T) {
	eachVariant(t, variants[:2], func(t *testing.T, k kind, v variant) {
		s := newSites(t, v.underlay, v.port)
		g := s.addSegment(t, k, net1000, nil)
		hosts := []*lab.Host{g.h1, g.h2, g.pods[0], g.pods[1]}
		for i, from := range hosts {
			for j := range hosts {
				if i != j {
					check(t, from.Ping(g.net.address(false, 1+j), lab.PingOptions{Count: 2}).Lost())
				}
			}
		}
	})
}

package conformance

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// What multicast groups do for links.

// trios are who the three members of a group are of; the last is the control.
var trios = [][]kind{
	{user, kernel, kernel}, {user, user, kernel}, {user, user, user}, {kernel, kernel, kernel},
}

// TestGroupOfThree has three members ping one another: 6 ways, each request and
// each reply comes once, and all learn where all are.
func TestGroupOfThree(t *testing.T) {
	t.Parallel()
	for _, u := range lanUnderlays {
		for _, kinds := range trios {
			t.Run(u.name+"/"+strings.Trim(fmt.Sprint(kinds), "[]"), func(t *testing.T) {
				t.Parallel()
				checkTrio(t, u, kinds)
			})
		}
	}
}

func checkTrio(t *testing.T, u lanUnderlay, kinds []kind) {
	t.Helper()
	l := newLAN(t, u, len(kinds))
	var arrived []*tally
	for i, k := range kinds {
		arrived = append(arrived, newTally(t, l.hosts[i], l.addMember(t, i, k, nil).dev))
	}
	for i, from := range l.hosts {
		for j := range l.hosts {
			if i != j {
				check(t, from.Ping(innerAddress(j).Addr(), lab.PingOptions{Count: 3}).Lost())
			}
		}
	}
	for i, at := range arrived {
		at.await(t, 2*3, func(f lab.Frame) bool { return isRequest(dissect.Packet(f)) })
		at.await(t, 2*3, func(f lab.Frame) bool {
			return dissect.Packet(f).Layer(layers.LayerTypeICMPv4) != nil && !isRequest(dissect.Packet(f))
		})
		for j, far := range l.links {
			if mac := macOf(t, far.Host, far.dev).String(); i != j {
				l.links[i].awaitEntry(t, mac, mac+" dst "+u.address(j).Addr().String()+" self ")
			}
		}
	}
	checkNoLoop(t, l)
}

// checkNoLoop wants no member to have heard itself: what is sent to the group
// does not come back to the host that sent it.
func checkNoLoop(t *testing.T, l *lan) {
	t.Helper()
	for _, member := range l.links {
		if drops := member.dropped(t); len(drops) > 0 {
			t.Errorf("%s dropped %v, want nothing", member.Name, drops)
		}
	}
}

// TestGroupReceivesNothingOfItsOwn sends to a group of which another link of
// the same host is a member too.
func TestGroupReceivesNothingOfItsOwn(t *testing.T) {
	eachOnLAN(t, func(t *testing.T, k kind, u lanUnderlay) {
		l := newLAN(t, u, 2)
		one := l.addMember(t, 0, k, nil)
		other := one.sibling(t, spec{VXLAN: lab.VXLAN{Name: "vxlan2", ID: 7, Port: 4789, Remote: u.group, Dev: "eth0"}})
		far := l.addMember(t, 1, kernel, nil)
		arrived := newTally(t, far.Host, far.dev)
		var f fences
		for range 5 {
			f.pass(t, one.Host, one.dev, arrived)
		}
		for _, near := range []*link{one, other} {
			if got := near.figures(t); got.rxPackets != 0 {
				t.Errorf("%s received %d packets, want none", near.dev, got.rxPackets)
			}
			if drops := near.dropped(t); len(drops) > 0 {
				t.Errorf("%s dropped %v, want nothing", near.dev, drops)
			}
		}
	})
}

// TestGroupTTL wants what goes to a group to have a TTL of 1, unless the link
// has one.
func TestGroupTTL(t *testing.T) {
	eachOnLAN(t, func(t *testing.T, k kind, u lanUnderlay) {
		for _, ttl := range []uint8{0, 9} {
			l := newLAN(t, u, 2)
			l.addMember(t, 0, k, func(s *spec) { s.TTL = ttl })
			wire := newTally(t, l.hosts[1], "eth0")
			frame := ether(broadcast, macOf(t, l.hosts[0], "vxlan1"), typeLocal, make([]byte, 60))
			check(t, l.hosts[0].SendFrame("vxlan1", frame))
			wire.await(t, 1, carries(frame))
			want := max(ttl, 1)
			wire.await(t, 1, func(f lab.Frame) bool {
				e, ok := dissect.DecodeVXLAN(f, 4789)
				return ok && carries(frame)(f) && outerDestination(e) == u.group && hopsOf(e) == want
			})
		}
	})
}

// TestGroupLearning wants what is for a station that was heard to go to its
// VTEP alone, and with nolearning to the group all the same.
func TestGroupLearning(t *testing.T) {
	eachOnLAN(t, func(t *testing.T, k kind, u lanUnderlay) {
		for _, learn := range []bool{true, false} {
			l := newLAN(t, u, 2)
			near := l.addMember(t, 0, k, func(s *spec) { s.NoLearning = !learn })
			far := l.addMember(t, 1, kernel, nil)
			check(t, near.Ping(innerAddress(1).Addr(), lab.PingOptions{}).Lost())
			wire := lab.TestCapture(t, l.hosts[1], "eth0")
			check(t, near.Ping(innerAddress(1).Addr(), lab.PingOptions{Count: 3}).Lost())
			mac, want, lines := macOf(t, far.Host, far.dev).String(), u.group, []string(nil)
			if learn {
				want = u.address(1).Addr()
				lines = []string{mac + " dst " + want.String() + " self "}
			}
			near.awaitEntry(t, mac, lines...)
			to := map[netip.Addr]int{}
			for _, e := range dissect.VXLANs(wire.Stop(), 4789) {
				if !e.Frame.Outgoing && isRequest(e.Inner) {
					to[outerDestination(e)]++
				}
			}
			if !maps.Equal(to, map[netip.Addr]int{want: 3}) {
				t.Errorf("learning %v: pings went to %v, want 3 to %v", learn, to, want)
			}
		}
	})
}

// TestGroupWords wants the kernel's refusals: a group is a multicast address,
// and needs a device.
func TestGroupWords(t *testing.T) {
	eachOnLAN(t, func(t *testing.T, k kind, u lanUnderlay) {
		l := newLAN(t, u, 1)
		h := l.hosts[0]
		l.addMember(t, 0, k, func(s *spec) { s.Remote = u.largestGroup() }).delete(t)
		without := lab.VXLAN{Name: "vxlan1", ID: 6, Port: 4789, Remote: u.group}
		if k == kernel {
			if err := h.AddKernelVXLAN(without); err == nil {
				t.Error("a group without a device was taken")
			}
			return
		}
		w := newWeft(t, h)
		for line, name := range map[string]string{
			"group " + u.group.String():                           "dev",
			"group " + u.address(3).Addr().String() + " dev eth0": "group",
		} {
			out := must(w.Run(strings.Fields("link add vxlan1 type vxlan id 6 dstport 4789 " + line)...))(t)
			if out.Status == 0 || !strings.HasPrefix(out.Stderr, "weft: ") || !strings.Contains(out.Stderr, name) {
				t.Errorf("%s: status %d, %q, want a refusal that names %s", line, out.Status, out.Stderr, name)
			}
		}
	})
}

// largestGroup is the last address of the tutorial's range, or a like one.
func (u *lanUnderlay) largestGroup() netip.Addr {
	if u.group.Is4() {
		return netip.MustParseAddr("239.255.255.255")
	}
	return netip.MustParseAddr("ff0e:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
}

// TestReplication appends remotes to the default entry, hosts and a group side
// by side: each gets exactly one copy, and nothing is joined for the group.
func TestReplication(t *testing.T) {
	eachOnLAN(t, func(t *testing.T, k kind, u lanUnderlay) {
		l := newLAN(t, u, 4)
		near := l.addMember(t, 0, k, nil)
		other := u.group.Next()
		near.fdb(t, "append", zeroMAC, "dst", other.String(), "via", "eth0")
		want := map[netip.Addr]int{u.group: 1, other: 1}
		for i := 1; i < 4; i++ {
			to := u.address(i).Addr()
			near.fdb(t, "append", zeroMAC, "dst", to.String())
			near.fdb(t, "append", zeroMAC, "dst", to.String()) // once more is no more
			want[to] = 1
		}
		wire := lab.TestCapture(t, near.Host, "eth0")
		frame := ether(broadcast, macOf(t, near.Host, near.dev), typeLocal, make([]byte, 60))
		check(t, near.SendFrame(near.dev, frame))
		check(t, lab.Eventually(waitLimit, func() error {
			if got := copies(wire.Frames(), frame); !maps.Equal(got, want) {
				return fmt.Errorf("copies went to %v, want %v", got, want)
			}
			return nil
		}))
		if isMember(t, near.Host, other) {
			t.Errorf("a member of %v, which is but a remote", other)
		}
	})
}

// copies counts the datagrams that carry a frame, by where they go.
func copies(frames []lab.Frame, frame []byte) map[netip.Addr]int {
	to := map[netip.Addr]int{}
	for _, e := range dissect.VXLANs(frames, 4789) {
		if carries(frame)(e.Frame) {
			to[outerDestination(e)]++
		}
	}
	return to
}

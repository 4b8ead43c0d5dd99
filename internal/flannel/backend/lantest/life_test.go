package lantest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/lab"
)

// way is a backend as these tests run it.
type way struct {
	name     string
	config   string
	datapath vxlan.Datapath
	dev      string
}

// ways are all of them; each says what it needs of the machine.
func forEachWay(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		test(t, way{"vxlan", seed002, d, "flannel.1"})
	})
	t.Run("udp", func(t *testing.T) {
		lab.NeedTUN(t)
		test(t, way{"udp", seed003, "", "flannel0"})
	})
}

// state is all that is programmed for the peers.
func (w way) state(m *machine) string {
	lines := append(m.routes(unix.AF_INET), m.addresses(w.dev, netip.Addr.Is4)...)
	if w.name == "udp" {
		return strings.Join(append(lines, m.must("route show dev "+w.dev)...), "\n")
	}
	lines = append(lines, m.fdb(w.dev)...)
	return strings.Join(append(lines, m.neighbours(w.dev, unix.AF_INET)...), "\n")
}

// unchanged fails the test when the state is not what it was.
func (w way) unchanged(t *testing.T, m *machine, before string) {
	t.Helper()
	if now := w.state(m); now != before {
		t.Errorf("there is now\n%s\nand there was\n%s", now, before)
	}
}

// others are made-up peers.
func others(config string, n int) []lease.Lease {
	var all []lease.Lease
	for i := range n {
		s := lease.Subnet{IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 7, byte(100 + i), 0}), 24)}
		if config == seed003 {
			s.IPv4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(100 + i), 0}), 24)
		}
		mac := [6]byte{2, 0, 0, 0, 1, byte(i)}
		all = append(all, lease.Lease{Subnet: s, Name: s.Key(), Record: lease.Record{
			PublicIP: netip.AddrFrom4([4]byte{10, 4, 7, byte(100 + i)}), BackendType: "vxlan", BackendData: lease.VXLAN{VNI: 1, VtepMAC: mac}.Encode(),
		}})
	}
	return all
}

// TestTakenOver: an agent ends and another one takes over, again and again,
// under a stream each way. Nothing is touched and nothing lost.
func TestTakenOver(t *testing.T) {
	forEachWay(t, func(t *testing.T, w way) {
		hosts := lan(t, "h1", "h2")
		a := hosts[0].agent(w.config, w.datapath, subnet(w.config, "21"))
		b := hosts[1].agent(w.config, w.datapath, subnet(w.config, "22"))
		peers := append(others(w.config, 20), b.own)
		check(t, a.reset(peers...))
		check(t, b.reset(a.own))
		out := startStream(t, a.machine, b.machine, b.own.IPv4.Addr())
		in := startStream(t, b.machine, a.machine, a.own.IPv4.Addr())
		before, mac, touched := w.state(a.machine), a.device(w.dev).MAC, a.watchTouches(w.dev)
		stop := a.run()
		for range 5 {
			stop()
			next := hosts[0].agent(w.config, w.datapath, subnet(w.config, "21"))
			stop = next.run()
			out.more(20) // while Run is there and the peers are not known yet
			check(t, next.reset(peers...))
			if next.said("taken over") != 1 {
				t.Error("device is not taken over")
			}
			if !next.own.Equal(a.own.Record) {
				t.Errorf("lease is now %s, was %s", encoded(t, next.own.Record), encoded(t, a.own.Record))
			}
		}
		stop()
		out.none()
		in.none()
		w.unchanged(t, a.machine, before)
		if now := a.device(w.dev).MAC; now.String() != mac.String() {
			t.Errorf("MAC is now %v, was %v", now, mac)
		}
		if lines := touched.all(); len(lines) > 0 {
			t.Errorf("the kernel was asked to change:\n%s", strings.Join(lines, "\n"))
		}
	})
}

// TestUnrelatedChange: peers come, change and go under a stream between others,
// which loses nothing.
func TestUnrelatedChange(t *testing.T) {
	forEachWay(t, func(t *testing.T, w way) {
		hosts := lan(t, "h1", "h2")
		a := hosts[0].agent(w.config, w.datapath, subnet(w.config, "21"))
		b := hosts[1].agent(w.config, w.datapath, subnet(w.config, "22"))
		acquaint(t, a, b)
		a.run()
		before := w.state(a.machine)
		out := startStream(t, a.machine, b.machine, b.own.IPv4.Addr())
		in := startStream(t, b.machine, a.machine, a.own.IPv4.Addr())
		for range 20 {
			var came, changed, went []registry.Event
			for _, p := range others(w.config, 50) {
				q := p
				q.PublicIP = q.PublicIP.Next()
				q.BackendData = lease.VXLAN{VNI: 1, VtepMAC: [6]byte{2, 0, 0, 0, 2, q.PublicIP.As4()[3]}}.Encode()
				came = append(came, registry.Event{Kind: registry.Added, Lease: p})
				changed = append(changed, registry.Event{Kind: registry.Changed, Lease: q, Old: p})
				went = append(went, registry.Event{Kind: registry.Removed, Lease: q})
			}
			check(t, a.apply(came...))
			check(t, a.apply(changed...))
			check(t, a.apply(went...))
		}
		out.none()
		in.none()
		w.unchanged(t, a.machine, before)
	})
}

// TestStale: what a crash left, or somebody spoilt, is as if it had never been
// after a Reset; what a person added stays.
func TestStale(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		w := way{"vxlan", seed002, d, "flannel.1"}
		hosts := lan(t, "h1", "h2")
		a := hosts[0].agent(w.config, d, subnet(w.config, "21"))
		b := hosts[1].agent(w.config, d, subnet(w.config, "22"))
		gone := others(w.config, 30)
		check(t, a.reset(append(gone, b.own)...))
		index := a.device(w.dev).Index
		check(t, a.Netlink().NeighSet(&netlink.Neigh{ // of b, with a MAC that it has not
			LinkIndex: index, State: netlink.NUD_PERMANENT, IP: b.own.IPv4.Addr().AsSlice(), HardwareAddr: []byte{2, 9, 9, 9, 9, 9},
		}))
		person := &netlink.Route{LinkIndex: index, Dst: device.IPNet(pfx("192.168.9.0/24")), Gw: b.own.IPv4.Addr().AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
		check(t, a.Netlink().RouteAdd(person))

		next := hosts[0].agent(w.config, d, subnet(w.config, "21"))
		check(t, next.reset(b.own))
		check(t, b.reset(a.own))
		mac := b.device(w.dev).MAC.String()
		compare(t, "FDB", a.fdb(w.dev), mac+" dst 10.4.7.22 self permanent")
		compare(t, "neighbours", a.neighbours(w.dev, unix.AF_INET), "172.7.22.0 lladdr "+mac+" PERMANENT")
		compare(t, "routes", a.routes(unix.AF_INET),
			"10.4.7.0/24 dev eth0 proto kernel scope link src 10.4.7.21",
			"172.7.22.0/24 via 172.7.22.0 dev flannel.1 onlink",
			"192.168.9.0/24 via 172.7.22.0 dev flannel.1 onlink")
		a.ping(b.own.IPv4.Addr())
	})
}

// TestStaleBoth does so on the second device of a network of both families; what
// is as it should be there is not touched.
func TestStaleBoth(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		hosts := lan(t, "h1", "h2")
		a := hosts[0].agent(dualStack, d, subnet(dualStack, "21"))
		b := hosts[1].agent(dualStack, d, subnet(dualStack, "22"))
		acquaint(t, a, b)
		touched := a.watchTouches("flannel-v6.1")
		next := hosts[0].agent(dualStack, d, subnet(dualStack, "21"))
		check(t, next.reset(b.own))
		if lines := touched.all(); len(lines) > 0 {
			t.Errorf("the kernel was asked to change:\n%s", strings.Join(lines, "\n"))
		}
		a.ping(b.own.IPv6.Addr())
		check(t, hosts[0].agent(dualStack, d, subnet(dualStack, "21")).reset())
		for _, dev := range []string{"flannel.1", "flannel-v6.1"} {
			compare(t, "FDB of "+dev, a.fdb(dev))
		}
		compare(t, "neighbours", a.neighbours("flannel-v6.1", unix.AF_INET6))
		compare(t, "routes", a.routes(unix.AF_INET6))
	})
}

// TestStaleUDP does so with the routes of a udp link.
func TestStaleUDP(t *testing.T) {
	lab.NeedTUN(t)
	hosts := lan(t, "h1")
	a := hosts[0].agent(seed003, "", subnet(seed003, "21"))
	check(t, a.reset(others(seed003, 30)...))
	a.must("route replace 10.0.101.0/24 via 10.4.7.99 dev flannel0")
	next := hosts[0].agent(seed003, "", subnet(seed003, "21"))
	check(t, next.reset(others(seed003, 2)...))
	compare(t, "routes", a.must("route show dev flannel0"), "10.0.100.0/24 via 10.4.7.100", "10.0.101.0/24 via 10.4.7.101")
}

// TestMended: what somebody does to the device is undone, and said once.
func TestMended(t *testing.T) {
	forEachWay(t, func(t *testing.T, w way) {
		hosts := lan(t, "h1", "h2")
		a := hosts[0].agent(w.config, w.datapath, subnet(w.config, "21"))
		b := hosts[1].agent(w.config, w.datapath, subnet(w.config, "22"))
		acquaint(t, a, b)
		a.run()
		before, mac := w.state(a.machine), a.device(w.dev).MAC
		link, err := a.Netlink().LinkByName(w.dev)
		check(t, err)
		damages := map[string]func() error{
			"deleted": func() error { return a.Delete(w.dev) },
			"down":    func() error { return a.SetDown(w.dev) },
			"address": func() error {
				return a.DelAddr(w.dev, netip.PrefixFrom(a.own.IPv4.Addr(), 32))
			},
		}
		if w.name == "vxlan" {
			damages["MAC"] = func() error { return a.Netlink().LinkSetHardwareAddr(link, []byte{2, 8, 8, 8, 8, 8}) }
			damages["route"] = func() error {
				return a.Netlink().RouteDel(&netlink.Route{Dst: device.IPNet(b.own.IPv4), LinkIndex: link.Attrs().Index})
			}
		}
		for _, what := range slices.Sorted(maps.Keys(damages)) {
			t.Run(what, func(t *testing.T) {
				said := a.said("somebody") + a.said("made again")
				if link, err = a.Netlink().LinkByName(w.dev); err != nil {
					t.Fatal(err)
				}
				check(t, damages[what]())
				soon(t, func() error {
					if _, err := a.Device(w.dev); err != nil {
						return err
					}
					if now := w.state(a.machine); now != before {
						return fmt.Errorf("there is now\n%s\nand there was\n%s", now, before)
					}
					return nil
				})
				if now := a.device(w.dev).MAC; now.String() != mac.String() {
					t.Errorf("MAC is now %v, was %v", now, mac)
				}
				a.ping(b.own.IPv4.Addr())
				b.ping(a.own.IPv4.Addr())
				if n := a.said("somebody") + a.said("made again") - said; n != 1 && what != "route" {
					t.Errorf("it is said %d times", n)
				}
			})
		}
	})
}

// TestDaemonKilled: without its daemon a link is gone; it is made again with
// all that was in it.
func TestDaemonKilled(t *testing.T) {
	lab.NeedTUN(t)
	for _, w := range []way{{"vxlan", seed002, vxlan.User, "flannel.1"}, {"udp", seed003, "", "flannel0"}} {
		for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGTERM} {
			t.Run(fmt.Sprint(w.name, " ", unix.SignalName(signal)), func(t *testing.T) {
				hosts := lan(t, "h1", "h2")
				a := hosts[0].agent(w.config, w.datapath, subnet(w.config, "21"))
				b := hosts[1].agent(w.config, w.datapath, subnet(w.config, "22"))
				acquaint(t, a, b)
				a.run()
				before, mac := w.state(a.machine), a.device(w.dev).MAC
				pid, err := a.daemonPid()
				check(t, err)
				check(t, unix.Kill(pid, signal))
				soon(t, func() error {
					if now, err := a.daemonPid(); err != nil || now == pid {
						return fmt.Errorf("no other daemon: %w", err)
					}
					if out, err := a.weft.Run("link", "show", w.dev); err != nil || out.Status != 0 {
						return fmt.Errorf("link show: %w %s", err, out.Stderr)
					}
					if now := w.state(a.machine); now != before {
						return fmt.Errorf("there is now\n%s\nand there was\n%s", now, before)
					}
					return nil
				})
				if now := a.device(w.dev).MAC; now.String() != mac.String() {
					t.Errorf("MAC is now %v, was %v", now, mac)
				}
				a.ping(b.own.IPv4.Addr())
				b.ping(a.own.IPv4.Addr())
			})
		}
	}
}

// TestCleanup: nothing is left, by an agent that has done nothing else.
func TestCleanup(t *testing.T) {
	forEachWay(t, func(t *testing.T, w way) {
		config := w.config
		if w.name == "vxlan" {
			config = dualStack
		}
		hosts := lan(t, "h1")
		before := strings.Join(hosts[0].routes(unix.AF_INET), "\n")
		a := hosts[0].agent(config, w.datapath, subnet(config, "21"))
		check(t, a.reset(others(config, 10)...))
		check(t, hosts[0].newAgent(w.config, vxlan.Auto).cleanup())
		links, err := a.Netlink().LinkList()
		check(t, err)
		for _, l := range links {
			if strings.HasPrefix(l.Attrs().Name, "flannel") {
				t.Errorf("%s is left", l.Attrs().Name)
			}
		}
		if now := strings.Join(a.routes(unix.AF_INET), "\n"); now != before {
			t.Errorf("routes are now\n%s\nand were\n%s", now, before)
		}
		check(t, hosts[0].newAgent(w.config, vxlan.Auto).cleanup()) // once more
	})
}

// TestDaemonRestarted: a daemon of systemd's that is restarted finds its place
// free, and gets the link back.
func TestDaemonRestarted(t *testing.T) {
	lab.NeedTUN(t)
	for _, w := range []way{{"vxlan", seed002, vxlan.User, "flannel.1"}, {"udp", seed003, "", "flannel0"}} {
		t.Run(w.name, func(t *testing.T) {
			hosts := lan(t, "h1", "h2")
			serve := func() *lab.Process {
				p, err := hosts[0].weft.Spawn("daemon")
				check(t, err)
				soon(t, func() error {
					if !strings.Contains(p.Stderr(), "serving") {
						return fmt.Errorf("the daemon does not serve: %s", p.Stderr())
					}
					return nil
				})
				return p
			}
			first := serve()
			a := hosts[0].agent(w.config, w.datapath, subnet(w.config, "21"))
			b := hosts[1].agent(w.config, w.datapath, subnet(w.config, "22"))
			acquaint(t, a, b)
			stop := a.run()
			before := w.state(a.machine)
			_, err := first.Stop()
			check(t, err)
			second := serve()
			soon(t, func() error {
				if pid, err := a.daemonPid(); err != nil || pid != second.Pid() {
					return fmt.Errorf("daemon is process %d, want %d: %w", pid, second.Pid(), err)
				}
				if len(a.links()) != 1 {
					return fmt.Errorf("links %v", a.links())
				}
				if now := w.state(a.machine); now != before {
					return fmt.Errorf("there is now\n%s\nand there was\n%s", now, before)
				}
				return nil
			})
			a.ping(b.own.IPv4.Addr())
			stop() // before its daemon is
			_, err = second.Stop()
			check(t, err)
		})
	}
}

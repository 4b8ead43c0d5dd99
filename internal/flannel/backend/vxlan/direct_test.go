package vxlan_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/lab"
)

const (
	soon = 20 * time.Second

	// noticed is what is told of by the kernel: well before the ten seconds
	// after which all is looked at anyway.
	noticed = 4 * time.Second
)

// onEach runs a test with either datapath on h1 and h2.
func onEach(t *testing.T, test func(t *testing.T, d vxlan.Datapath)) {
	for _, d := range []vxlan.Datapath{vxlan.User, vxlan.Kernel} {
		t.Run(string(d), func(t *testing.T) {
			if d == vxlan.Kernel {
				lab.NeedKernelVXLAN(t)
			}
			test(t, d)
		})
	}
}

// A peer on the wire gets packets as they are, one behind a router in VXLAN.
func TestDirectRouting(t *testing.T) {
	onEach(t, func(t *testing.T, d vxlan.Datapath) {
		s := newSite(t)
		s.start(directConfig, d, d, vxlan.User)
		h1, h2, h3 := s.machines[0], s.machines[1], s.machines[2]
		check(t, h1.wantRoutes(near...))
		check(t, h2.wantRoutes(
			"172.7.21.0/24 via 10.4.7.21 dev eth0", "172.7.23.0/24 via 172.7.23.0 dev flannel.1 onlink",
			"fd00:7:0:21::/64 via fd10:407::21 dev eth0", "fd00:7:0:23::/64 via fd00:7:0:23:: dev flannel-v6.1 onlink"))
		check(t, h3.wantRoutes(
			"172.7.21.0/24 via 172.7.21.0 dev flannel.1 onlink", "172.7.22.0/24 via 172.7.22.0 dev flannel.1 onlink",
			"fd00:7:0:21::/64 via fd00:7:0:21:: dev flannel-v6.1 onlink", "fd00:7:0:22::/64 via fd00:7:0:22:: dev flannel-v6.1 onlink"))
		if got := h1.neighbours(); !slices.Equal(got, []string{"172.7.23.0", "fd00:7:0:23::"}) {
			t.Errorf("h1's devices have the neighbours %v, want h3 alone", got)
		}
		wire, up := lab.TestCapture(t, h1.Host, "eth0"), lab.TestCapture(t, h1.Host, "up0")
		for _, to := range []int{1, 2} {
			check(t, s.containers[0].Ping(s.container4(to), lab.PingOptions{Count: 3}).Lost())
			check(t, s.containers[0].Ping(s.container6(to), lab.PingOptions{Count: 3}).Lost())
			_, err := lab.Transfer(s.containers[0], s.containers[to], netip.AddrPortFrom(s.container4(to), 0), 4<<20)
			check(t, err)
		}
		frames := wire.Stop()
		asTheyAre, encapsulated := between(frames)
		if len(encapsulated) > 0 {
			t.Errorf("the wire to h2 carries in VXLAN %v", encapsulated)
		}
		for _, flow := range []string{"172.7.21.2->172.7.22.2", "172.7.22.2->172.7.21.2", "fd00:7:0:21::2->fd00:7:0:22::2", "fd00:7:0:22::2->fd00:7:0:21::2"} {
			if !asTheyAre[flow] {
				t.Errorf("the wire to h2 does not carry %s as it is, but %v", flow, asTheyAre)
			}
		}
		asTheyAre, encapsulated = between(up.Stop())
		for _, flow := range []string{"172.7.21.2->172.7.23.2", "172.7.23.2->172.7.21.2", "fd00:7:0:21::2->fd00:7:0:23::2", "fd00:7:0:23::2->fd00:7:0:21::2"} {
			if asTheyAre[flow] || !encapsulated[flow] {
				t.Errorf("to the router %s goes as it is: %t, in VXLAN: %t", flow, asTheyAre[flow], encapsulated[flow])
			}
		}
	})
}

// detour sends what h1 has for h2 by way of the router, and back.
func (s *site) detour(on bool) {
	s.Helper()
	change := s.machines[0].AddRoute
	if !on {
		change = s.machines[0].DelRoute
	}
	check(s.T, change(netip.PrefixFrom(s.machines[1].node.Addr, 32), "up0", addr("10.4.10.1")))
	check(s.T, change(netip.PrefixFrom(s.machines[1].node.Addr6, 128), "up0", addr("fd10:4:10::1")))
}

// When the way to a peer becomes another, packets to it go another way, and
// none is lost.
func TestDirectRoutingIsDecidedAnew(t *testing.T) {
	onEach(t, func(t *testing.T, d vxlan.Datapath) {
		s := newSite(t)
		s.start(directConfig, d, d, vxlan.User)
		h1 := s.machines[0]
		s.nodes[0].run()
		s.nodes[1].run()
		stop := s.stream(s.container4(1), s.container6(1))
		for range 3 {
			s.detour(true)
			check(t, lab.Eventually(noticed, func() error { return h1.wantRoutes(far...) }))
			check(t, lab.Eventually(noticed, func() error { return s.wantNeighbours(4) }))
			s.detour(false)
			check(t, lab.Eventually(noticed, func() error { return h1.wantRoutes(near...) }))
		}
		// What the device no longer has to do for h2 is forgotten.
		check(t, lab.Eventually(soon, func() error { return s.wantNeighbours(2) }))
		stop()
	})
}

func (s *site) wantNeighbours(n int) error {
	if got := s.machines[0].neighbours(); len(got) != n {
		return fmt.Errorf("h1's devices have the neighbours %v, want %d", got, n)
	}
	return nil
}

// stream sends numbered datagrams from h1's container to addresses of h2's,
// thousands a second, until the returned function is called, which fails the
// test if one is missing.
func (s *site) stream(to ...netip.Addr) (stop func()) {
	s.Helper()
	var ends []func()
	for _, a := range to {
		var in, out *net.UDPConn
		check(s.T, s.containers[1].Do(func() (err error) {
			in, err = net.ListenUDP("udp", &net.UDPAddr{IP: a.AsSlice()})
			return err
		}))
		check(s.T, in.SetReadBuffer(4<<20))
		check(s.T, s.containers[0].Do(func() (err error) {
			out, err = net.DialUDP("udp", nil, in.LocalAddr().(*net.UDPAddr))
			return err
		}))
		ends = append(ends, s.count(in, out))
	}
	return func() {
		s.Helper()
		for _, end := range ends {
			end()
		}
	}
}

// perTick datagrams are sent each millisecond: few enough for queues to hold
// what comes while a busy machine lets a worker wait.
const perTick = 4

func (s *site) count(in, out *net.UDPConn) (end func()) {
	done, sent := make(chan struct{}), make(chan uint32)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		payload := make([]byte, 200)
		n := uint32(0)
		for {
			select {
			case <-done:
				sent <- n
				return
			case <-tick.C:
			}
			for range perTick {
				binary.BigEndian.PutUint32(payload, n)
				if _, err := out.Write(payload); err != nil {
					s.Errorf("datagram %d: %v", n, err)
				}
				n++
			}
		}
	}()
	var arrived atomic.Uint32
	go func() {
		buf := make([]byte, 2048)
		for {
			if _, err := in.Read(buf); err != nil {
				return
			}
			arrived.Add(1)
		}
	}()
	return func() {
		s.Helper()
		close(done)
		n := <-sent
		err := lab.Eventually(soon/4, func() error {
			if got := arrived.Load(); got != n {
				return fmt.Errorf("of %d datagrams to %v %d arrived", n, in.LocalAddr(), got)
			}
			return nil
		})
		if err != nil {
			s.Error(err)
		}
		in.Close()
		out.Close()
	}
}

// Direct routes are kept against others, as all that the backend makes.
func TestDirectRoutesArePutBack(t *testing.T) {
	s := newSite(t)
	s.start(directConfig, vxlan.User, vxlan.User, vxlan.User)
	h1 := s.machines[0]
	s.nodes[0].run()
	settled := func() error { return h1.wantRoutes(near...) }
	check(t, lab.Eventually(soon, settled))
	for what, upset := range map[string]func(){
		"deleted": func() {
			check(t, h1.DelRoute(pfx("172.7.22.0/24"), "eth0", addr("10.4.7.22")))
			check(t, h1.DelRoute(pfx("fd00:7:0:22::/64"), "eth0", addr("fd10:407::22")))
		},
		"replaced": func() {
			d, err := h1.Device("up0")
			check(t, err)
			check(t, h1.Netlink().RouteReplace(&netlink.Route{Dst: device.IPNet(pfx("172.7.22.0/24")), Gw: addr("10.4.10.1").AsSlice(), LinkIndex: d.Index}))
		},
		"flap": func() {
			check(t, h1.SetDown("eth0"))
			check(t, h1.SetUp("eth0"))
			check(t, h1.AddAddr("eth0", pfx("fd10:407::21/64")))
		},
		"of the overlay, deleted": func() {
			check(t, h1.DelRoute(pfx("172.7.23.0/24"), "flannel.1", addr("172.7.23.0")))
		},
	} {
		for range 3 { // once it may have been looked at by chance
			upset()
			if err := lab.Eventually(noticed, settled); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	check(t, s.containers[0].Ping(s.container4(1), lab.PingOptions{}).Lost())
}

// Another process takes over, also one with another config, and takes away
// what is left of peers that are gone; in the end all of it is taken back.
func TestDirectRoutesOfFormerProcess(t *testing.T) {
	onEach(t, func(t *testing.T, d vxlan.Datapath) {
		s := newSite(t)
		s.start(directConfig, d, d, vxlan.User)
		h1 := s.machines[0]
		gone := s.nodes[1].own
		gone.Subnet = lease.Subnet{IPv4: pfx("172.7.99.0/24"), IPv6: pfx("fd00:7:0:99::/64")}
		gone.Name = gone.Key()
		check(t, s.nodes[0].apply(registry.Event{Kind: registry.Added, Lease: gone}))
		if n := len(h1.routes()); n != 6 {
			t.Fatalf("routes %v", h1.routes())
		}
		events := watchRoutes(t, h1.Host)
		next := h1.agent(directConfig, d, subnetOf(0))
		check(t, next.reset(s.peersOf(0)...))
		check(t, h1.wantRoutes(near...))
		for _, e := range events() {
			if e.Type != unix.RTM_DELROUTE || !strings.Contains(e.Dst.String(), "99") {
				t.Errorf("a route that had been right was touched: %v", e)
			}
		}
		next = h1.agent(encapsulatedConfig, d, subnetOf(0))
		check(t, next.reset(s.peersOf(0)...))
		check(t, h1.wantRoutes(far...))
		check(t, s.containers[0].Ping(s.container4(1), lab.PingOptions{}).Lost())
		next = h1.agent(directConfig, d, subnetOf(0))
		check(t, next.reset(s.peersOf(0)...))
		check(t, h1.wantRoutes(near...))
		check(t, h1.Do(func() error { return next.Cleanup(t.Context()) }))
		check(t, h1.wantRoutes())
	})
}

// watchRoutes returns what tells of all changes to routes by gateways since.
func watchRoutes(t *testing.T, h *lab.Host) func() []netlink.RouteUpdate {
	t.Helper()
	updates, done := make(chan netlink.RouteUpdate, 1000), make(chan struct{})
	check(t, h.Do(func() error { return netlink.RouteSubscribe(updates, done) }))
	t.Cleanup(func() { close(done) })
	return func() (all []netlink.RouteUpdate) {
		t.Helper()
		last := pfx("198.51.100.0/24") // the test's own
		check(t, h.AddRoute(last, "lo", netip.Addr{}))
		for u := range updates {
			switch {
			case u.Dst.String() == last.String():
				return all
			case u.Gw != nil:
				all = append(all, u)
			}
		}
		t.Fatal("the watch broke off")
		return nil
	}
}

// With the wire down, h2 is reached by way of the router: of IPv4 alone the
// kernel tells no more than that the device is down.
func TestDirectRoutingWithTheWireDown(t *testing.T) {
	s := newSite(t)
	s.start(`{"Network": "172.7.0.0/16", "Backend": {"Type": "VxLAN", "DirectRouting": true}}`, vxlan.User, vxlan.User, vxlan.User)
	h1 := s.machines[0]
	s.nodes[0].run()
	for range 3 {
		check(t, lab.Eventually(noticed, func() error { return h1.wantRoutes(near[:2]...) }))
		check(t, h1.SetDown("eth0"))
		check(t, lab.Eventually(noticed, func() error { return h1.wantRoutes(far[:2]...) }))
		check(t, h1.SetUp("eth0"))
	}
}

func TestDirectPeersComeAndGo(t *testing.T) {
	s := newSite(t)
	s.start(directConfig, vxlan.User, vxlan.User, vxlan.User)
	h1, a := s.machines[0], s.nodes[1].own
	moved := a // it has another address, behind the router
	moved.PublicIP, moved.PublicIPv6 = addr("10.4.8.77"), addr("fd10:408::77")
	check(t, s.nodes[0].apply(registry.Event{Kind: registry.Changed, Lease: moved, Old: a}))
	check(t, h1.wantRoutes(far...))
	check(t, s.nodes[0].apply(registry.Event{Kind: registry.Changed, Lease: a, Old: moved}))
	check(t, h1.wantRoutes(near...))
	check(t, s.nodes[0].apply(registry.Event{Kind: registry.Removed, Lease: a}))
	check(t, h1.wantRoutes(near[1], near[3]))
	check(t, s.wantNeighbours(2))
	other := a
	other.BackendType = netconf.TypeHostGW
	check(t, s.nodes[0].apply(registry.Event{Kind: registry.Added, Lease: other}))
	check(t, h1.wantRoutes(near[1], near[3]))
}

// A lease that claims the wire would take the host off it, on either way.
func TestLeaseOfTheWire(t *testing.T) {
	for _, config := range []string{directConfig, encapsulatedConfig} {
		s := newSite(t)
		s.start(config, vxlan.User, vxlan.User, vxlan.User)
		h1 := s.machines[0]
		evil := s.nodes[1].own
		evil.Subnet = lease.Subnet{IPv4: pfx("10.4.7.0/24"), IPv6: pfx("fd10:407::/64")}
		evil.Name = evil.Key()
		err := s.nodes[0].apply(registry.Event{Kind: registry.Added, Lease: evil})
		for _, want := range []string{"10.4.7.0/24 has addresses of the underlay", "fd10:407::/64 has addresses of the underlay"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q in it", err, want)
			}
		}
		check(t, h1.Ping(addr("10.4.7.22"), lab.PingOptions{}).Lost())
		check(t, h1.Ping(addr("fd10:407::22"), lab.PingOptions{}).Lost())
	}
}

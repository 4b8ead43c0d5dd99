package lantest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/routetable"
)

// peerSet is a naive model: the leases there are, by name.
type peerSet map[string]lease.Lease

// step changes one or a few leases at random: MACs and addresses come from
// small pools and wander between peers, as those of reinstalled hosts do, but no
// two peers have the same MAC at a time.
func (s peerSet) step(r *rand.Rand) (events []registry.Event) {
	for range 1 + r.IntN(4) {
		sub := lease.Subnet{IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 7, byte(100 + r.IntN(8)), 0}), 24)}
		old, known := s[sub.Key()]
		if known && r.IntN(3) == 0 {
			delete(s, sub.Key())
			events = append(events, registry.Event{Kind: registry.Removed, Lease: old})
			continue
		}
		mac := routetable.MAC{2, 0, 0, 0, 3, byte(r.IntN(12))}
		if slices.ContainsFunc(s.others(sub.Key()), func(l lease.Lease) bool { return macOf(l) == mac }) {
			continue
		}
		l := lease.Lease{Subnet: sub, Name: sub.Key(), Record: lease.Record{
			PublicIP: netip.AddrFrom4([4]byte{10, 4, 7, byte(100 + r.IntN(6))}), BackendType: "vxlan",
			BackendData: lease.VXLAN{VNI: 1, VtepMAC: mac}.Encode(),
		}}
		if r.IntN(6) == 0 {
			l.BackendType = "host-gw"
		}
		s[l.Name] = l
		if known {
			events = append(events, registry.Event{Kind: registry.Changed, Lease: l, Old: old})
		} else {
			events = append(events, registry.Event{Kind: registry.Added, Lease: l})
		}
	}
	return events
}

func (s peerSet) others(name string) (all []lease.Lease) {
	for n, l := range s {
		if n != name && l.BackendType == "vxlan" {
			all = append(all, l)
		}
	}
	return all
}

func macOf(l lease.Lease) routetable.MAC {
	v, _ := lease.ParseVXLAN(l.BackendData)
	return v.VtepMAC
}

// lines are what has to be programmed for the leases.
func (s peerSet) lines() (fdb, neighbours, routes []string) {
	for _, l := range s {
		if l.BackendType != "vxlan" {
			continue
		}
		base := l.IPv4.Addr()
		fdb = append(fdb, fmt.Sprintf("%v dst %v self permanent", macOf(l), l.PublicIP))
		neighbours = append(neighbours, fmt.Sprintf("%v lladdr %v PERMANENT", base, macOf(l)))
		routes = append(routes, fmt.Sprintf("%v via %v dev flannel.1 onlink", l.IPv4, base))
	}
	return fdb, neighbours, append(routes, "10.4.7.0/24 dev eth0 proto kernel scope link src 10.4.7.21")
}

// TestPeersChange: after any changes there is what the leases say and nothing
// else, and a Reset to the same finds nothing to do.
func TestPeersChange(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		hosts := lan(t, "h1")
		a := hosts[0].agent(seed002, d, subnet(seed002, "21"))
		check(t, a.reset())
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r, set := rand.New(rand.NewPCG(seed, 0)), peerSet{}
		for range 40 {
			check(t, a.apply(set.step(r)...))
			fdb, neighbours, routes := set.lines()
			compare(t, "FDB", a.fdb("flannel.1"), fdb...)
			compare(t, "neighbours", a.neighbours("flannel.1", unix.AF_INET), neighbours...)
			compare(t, "routes", a.routes(unix.AF_INET), routes...)
			if t.Failed() {
				return
			}
		}
		touched := a.watchTouches("flannel.1")
		var all []lease.Lease
		for _, l := range set {
			all = append(all, l)
		}
		check(t, a.reset(all...))
		if lines := touched.all(); len(lines) > 0 {
			t.Errorf("the kernel was asked to change:\n%s", strings.Join(lines, "\n"))
		}
	})
}

// TestBadPeers: a peer whose lease makes no sense is named and left out, or
// stays as it was; the others are served.
func TestBadPeers(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		hosts := lan(t, "h1", "h2")
		a := hosts[0].agent(seed002, d, subnet(seed002, "21"))
		b := hosts[1].agent(seed002, d, subnet(seed002, "22"))
		ownMAC := a.device("flannel.1").MAC
		for i, data := range []string{
			`{"VtepMAC":"zz"}`, `{"VtepMAC":7}`, `"x"`, ``, `{"VNI":1}`, `{"VtepMAC":"01:00:5e:00:00:01"}`,
			`{"VtepMAC":"00:00:00:00:00:00"}`, fmt.Sprintf(`{"VNI":1,"VtepMAC":"%v"}`, ownMAC),
		} {
			bad := others(seed002, 1)[0]
			bad.BackendData = []byte(data)
			err := a.reset(bad, b.own)
			if err == nil || !strings.Contains(err.Error(), bad.Name) || !strings.Contains(err.Error(), bad.PublicIP.String()) || strings.Contains(err.Error(), b.own.Name) {
				t.Errorf("%d: error %v, want one that names %s", i, err, bad.Name)
			}
			compare(t, data, a.fdb("flannel.1"), b.device("flannel.1").MAC.String()+" dst 10.4.7.22 self permanent")
		}
		taken := others(seed002, 1)[0]
		taken.Subnet, taken.Name = subnet(seed002, "21"), "172.7.21.0-25"
		if err := a.reset(taken, b.own); err == nil || !strings.Contains(err.Error(), "own") {
			t.Errorf("a peer with this node's subnet: %v", err)
		}
		foreign := others(seed002, 1)[0]
		foreign.BackendType = "host-gw"
		check(t, a.reset(foreign, b.own))
		check(t, b.reset(a.own))
		a.ping(b.own.IPv4.Addr())

		spoilt := b.own
		spoilt.BackendData = []byte(`{}`)
		if err := a.apply(registry.Event{Kind: registry.Changed, Lease: spoilt, Old: b.own}); err == nil {
			t.Error("a spoilt lease is taken without a word")
		}
		a.ping(b.own.IPv4.Addr())
		check(t, a.apply(registry.Event{Kind: registry.Removed, Lease: spoilt}))
		compare(t, "FDB", a.fdb("flannel.1"))
	})
}

// TestUDPTakesEveryLease: peers of the udp backend do not say that they are.
func TestUDPTakesEveryLease(t *testing.T) {
	lab.NeedTUN(t)
	a := lan(t, "h1")[0].agent(seed003, "", subnet(seed003, "21"))
	peers := others(seed003, 3)
	peers[0].BackendType, peers[0].BackendData = "", nil
	peers[1].BackendType = "host-gw"
	check(t, a.reset(peers...))
	compare(t, "routes", a.must("route show dev flannel0"),
		"10.0.100.0/24 via 10.4.7.100", "10.0.101.0/24 via 10.4.7.101", "10.0.102.0/24 via 10.4.7.102")
	moved := peers[0]
	moved.PublicIP = addr("10.4.7.250")
	check(t, a.apply(
		registry.Event{Kind: registry.Changed, Lease: moved, Old: peers[0]},
		registry.Event{Kind: registry.Removed, Lease: peers[1]},
	))
	compare(t, "routes", a.must("route show dev flannel0"), "10.0.100.0/24 via 10.4.7.250", "10.0.102.0/24 via 10.4.7.102")
	taken := others(seed003, 1)[0]
	taken.Subnet, taken.Name = subnet(seed003, "21"), "10.0.21.0-25"
	if err := a.reset(taken, peers[2]); err == nil || !strings.Contains(err.Error(), taken.Name) || !strings.Contains(err.Error(), "own") {
		t.Errorf("a peer with this node's subnet: %v", err)
	}
	compare(t, "routes", a.must("route show dev flannel0"), "10.0.102.0/24 via 10.4.7.102")
}

// many are leases of a network of ten thousand nodes.
func many(n int) []lease.Lease {
	all := make([]lease.Lease, n)
	for i := range all {
		high, low := byte(i>>8), byte(i)
		s := lease.Subnet{IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64 + high, low, 0}), 24)}
		all[i] = lease.Lease{Subnet: s, Name: s.Key(), Record: lease.Record{
			PublicIP: netip.AddrFrom4([4]byte{10, 200, high, low}), BackendType: "vxlan",
			BackendData: lease.VXLAN{VNI: 1, VtepMAC: [6]byte{2, 0, 0, 9, high, low}}.Encode(),
		}}
	}
	return all
}

// TestTenThousand fills the tables from nothing, finds them as they should be,
// changes a few, and empties them, under a stream that notices nothing.
func TestTenThousand(t *testing.T) {
	const big, bigUDP = `{"Network": "10.0.0.0/8", "SubnetMin": "10.64.0.0", "SubnetMax": "10.128.0.0", "Backend": {"Type": "vxlan"}}`, `{"Network": "10.0.0.0/8", "SubnetMin": "10.64.0.0", "SubnetMax": "10.128.0.0"}`
	forEachWay(t, func(t *testing.T, w way) {
		w.config = map[string]string{"vxlan": big, "udp": bigUDP}[w.name]
		hosts := lan(t, "h1", "h2")
		a := hosts[0].agent(w.config, w.datapath, lease.Subnet{IPv4: pfx("10.120.1.0/24")})
		b := hosts[1].agent(w.config, w.datapath, lease.Subnet{IPv4: pfx("10.120.2.0/24")})
		acquaint(t, a, b)
		s := startStream(t, a.machine, b.machine, b.own.IPv4.Addr())
		all := append(many(10_000), b.own)
		took := func(what string, f func() error) {
			begun := time.Now()
			check(t, f())
			t.Logf("%s: %v", what, time.Since(begun).Round(time.Millisecond))
		}
		took("fill", func() error { return a.reset(all...) })
		took("find as it should be", func() error { return a.reset(all...) })
		changed := all[5]
		changed.PublicIP = changed.PublicIP.Next()
		took("change one", func() error {
			return a.apply(registry.Event{Kind: registry.Changed, Lease: changed, Old: all[5]})
		})
		if w.name == "vxlan" {
			if n := len(a.fdb(w.dev)); n != len(all) {
				t.Errorf("%d entries in the FDB, want %d", n, len(all))
			}
			if n := len(a.neighbours(w.dev, unix.AF_INET)); n != len(all) {
				t.Errorf("%d neighbours, want %d", n, len(all))
			}
			if n := len(a.routes(unix.AF_INET)); n != len(all)+1 {
				t.Errorf("%d routes, want %d", n, len(all)+1)
			}
		} else if n := len(a.must("route show dev " + w.dev)); n != len(all) {
			t.Errorf("%d routes, want %d", n, len(all))
		}
		took("empty", func() error { return a.reset(b.own) })
		s.none()
	})
}

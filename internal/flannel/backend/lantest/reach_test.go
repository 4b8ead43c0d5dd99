package lantest

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/lab"
)

// transferSize is how many bytes a checked stream has; the variable has MiB.
func transferSize(t *testing.T) int64 {
	t.Helper()
	text := os.Getenv("WEFT_TRANSFER_MIB")
	if text == "" {
		return 4<<20 + 1
	}
	n, err := strconv.Atoi(text)
	check(t, err)
	return int64(n)<<20 + 1
}

// bases are the addresses of a node's devices.
func bases(s lease.Subnet) []netip.Addr {
	if s.IPv6.IsValid() {
		return []netip.Addr{s.IPv4.Addr(), s.IPv6.Addr()}
	}
	return []netip.Addr{s.IPv4.Addr()}
}

// TestMixedNetwork: a node in userspace, one on the kernel's device, and one on
// which flannel runs; each reaches each other one and moves checked streams.
func TestMixedNetwork(t *testing.T) {
	lab.NeedTUN(t)
	lab.NeedKernelVXLAN(t)
	for name, config := range map[string]string{"ipv4": seed002, "both": dualStack} {
		t.Run(name, func(t *testing.T) {
			hosts := lan(t, "user", "kernel", "flannel")
			a := hosts[0].agent(config, vxlan.User, subnet(config, "21"))
			b := hosts[1].agent(config, vxlan.Kernel, subnet(config, "22"))
			k := newKernelPeer(hosts[2], subnet(config, "23"))
			check(t, a.reset(b.own, k.own))
			check(t, b.reset(a.own, k.own))
			k.meet(t, a.own, b.own)
			ends := []struct {
				*machine
				own lease.Lease
			}{{a.machine, a.own}, {b.machine, b.own}, {k.machine, k.own}}
			for _, from := range ends {
				for _, to := range ends {
					if from.machine == to.machine {
						continue
					}
					for _, base := range bases(to.own.Subnet) {
						from.ping(base)
						_, err := lab.Transfer(from.Host, to.Host, netip.AddrPortFrom(base, 0), transferSize(t))
						check(t, err)
					}
				}
			}
			for _, n := range []*agent{a, b} {
				if n.mtu != 1450 {
					t.Errorf("%s: MTU %d, want 1450", n.Name, n.mtu)
				}
			}
		})
	}
}

// TestUserNodes does so where there is no kernel's vxlan.
func TestUserNodes(t *testing.T) {
	lab.NeedTUN(t)
	for name, config := range map[string]string{"vxlan": seed002, "both": dualStack, "udp": seed003} {
		t.Run(name, func(t *testing.T) {
			hosts := lan(t, "h1", "h2", "h3")
			var agents []*agent
			for i, h := range hosts {
				agents = append(agents, h.agent(config, vxlan.User, subnet(config, fmt.Sprint(53+i))))
			}
			acquaint(t, agents...)
			for _, a := range agents {
				for _, b := range agents {
					if a == b {
						continue
					}
					for _, base := range bases(b.own.Subnet) {
						a.ping(base)
						_, err := lab.Transfer(a.Host, b.Host, netip.AddrPortFrom(base, 0), transferSize(t))
						check(t, err)
					}
				}
			}
		})
	}
}

// forEachDatapath runs a test in userspace and, where there is one, on the
// kernel's device, which is to look the same.
func forEachDatapath(t *testing.T, test func(t *testing.T, d vxlan.Datapath)) {
	t.Helper()
	t.Run("user", func(t *testing.T) {
		lab.NeedTUN(t)
		test(t, vxlan.User)
	})
	t.Run("kernel", func(t *testing.T) {
		lab.NeedKernelVXLAN(t)
		test(t, vxlan.Kernel)
	})
}

func compare(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// TestSeed002: what the seed prints of hosts 21 and 22 with their docker0s.
func TestSeed002(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		hosts := lan(t, "hdss7-21", "hdss7-22", "router")
		for i, h := range hosts[:2] {
			check(t, h.AddBridge("docker0"))
			check(t, h.AddAddr("docker0", netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 7, byte(21 + i), 1}), 24)))
			check(t, h.AddRoute(pfx("0.0.0.0/0"), "eth0", addr("10.4.7.23")))
		}
		a := hosts[0].agent(seed002, d, subnet(seed002, "21"))
		b := hosts[1].agent(seed002, d, subnet(seed002, "22"))
		acquaint(t, a, b)

		compare(t, "ip route ls", a.routes(unix.AF_INET),
			"default via 10.4.7.23 dev eth0",
			"10.4.7.0/24 dev eth0 proto kernel scope link src 10.4.7.21",
			"172.7.21.0/24 dev docker0 proto kernel scope link src 172.7.21.1",
			"172.7.22.0/24 via 172.7.22.0 dev flannel.1 onlink")
		mac := b.device("flannel.1").MAC.String()
		compare(t, "bridge fdb show dev flannel.1", a.fdb("flannel.1"), mac+" dst 10.4.7.22 self permanent")
		compare(t, "ip neigh show dev flannel.1", a.neighbours("flannel.1", unix.AF_INET), "172.7.22.0 lladdr "+mac+" PERMANENT")
		compare(t, "addresses of flannel.1", a.addresses("flannel.1", netip.Addr.Is4), "172.7.21.0/32")
		dev := a.device("flannel.1")
		if flags := dev.Flags.String(); dev.MTU != 1450 || flags != "up|broadcast|multicast|running" {
			t.Errorf("flannel.1 has mtu %d and flags %s", dev.MTU, flags)
		}
		if want := fmt.Sprintf(`{"PublicIP":"10.4.7.21","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"%s"}}`, dev.MAC); encoded(t, a.own.Record) != want {
			t.Errorf("lease %s, want %s", encoded(t, a.own.Record), want)
		}
		a.ping(addr("172.7.22.1"))
	})
}

func encoded(t *testing.T, r lease.Record) string {
	t.Helper()
	text, err := r.Encode()
	check(t, err)
	return string(text)
}

// TestDualStackLines: the second device, and what is on it.
func TestDualStackLines(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		hosts := lan(t, "h1", "h2")
		a := hosts[0].agent(dualStack, d, subnet(dualStack, "21"))
		b := hosts[1].agent(dualStack, d, subnet(dualStack, "22"))
		acquaint(t, a, b)
		mac, mac6 := b.device("flannel.1").MAC.String(), b.device("flannel-v6.1").MAC.String()
		compare(t, "FDB of flannel.1", a.fdb("flannel.1"), mac+" dst 10.4.7.22 self permanent")
		compare(t, "FDB of flannel-v6.1", a.fdb("flannel-v6.1"), mac6+" dst "+b.node.Public6.String()+" self permanent")
		compare(t, "neighbours of flannel-v6.1", a.neighbours("flannel-v6.1", unix.AF_INET6), "fd00:7:0:22:: lladdr "+mac6+" PERMANENT")
		compare(t, "routes of IPv6", a.routes(unix.AF_INET6), "fd00:7:0:22::/64 via fd00:7:0:22:: dev flannel-v6.1 onlink")
		compare(t, "addresses of flannel-v6.1", a.addresses("flannel-v6.1", netip.Addr.Is6), "fd00:7:0:21::/128")
		if mtu := a.device("flannel-v6.1").MTU; mtu != 1430 {
			t.Errorf("flannel-v6.1 has mtu %d, want 1430", mtu)
		}
		want := fmt.Sprintf(`{"PublicIP":"10.4.7.22","PublicIPv6":%q,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":%q},"BackendV6Data":{"VNI":1,"VtepMAC":%q}}`,
			b.node.Public6, mac, mac6)
		if encoded(t, b.own.Record) != want {
			t.Errorf("lease %s, want %s", encoded(t, b.own.Record), want)
		}
	})
}

// TestSeed003: the udp backend, as the seed has it.
func TestSeed003(t *testing.T) {
	lab.NeedTUN(t)
	hosts := lan(t, "k8s-node-1", "k8s-node-2")
	for i, h := range hosts {
		check(t, h.AddBridge("docker0"))
		check(t, h.AddAddr("docker0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(53 + 27*i), 1}), 24)))
	}
	a := hosts[0].agent(seed003, "", subnet(seed003, "53"))
	b := hosts[1].agent(seed003, "", subnet(seed003, "80"))
	acquaint(t, a, b)
	compare(t, "route -n", a.routes(unix.AF_INET),
		"10.0.0.0/16 dev flannel0",
		"10.0.53.0/24 dev docker0 proto kernel scope link src 10.0.53.1",
		"10.4.7.0/24 dev eth0 proto kernel scope link src 10.4.7.21")
	compare(t, "addresses of flannel0", a.addresses("flannel0", netip.Addr.Is4), "10.0.53.0/32")
	compare(t, "weft route show", a.must("route show dev flannel0"), "10.0.80.0/24 via 10.4.7.22")
	if dev := a.device("flannel0"); dev.MTU != 1472 || a.mtu != 1472 {
		t.Errorf("flannel0 has mtu %d, containers are to have %d; want 1472", dev.MTU, a.mtu)
	}
	if got, want := encoded(t, a.own.Record), `{"PublicIP":"10.4.7.21","PublicIPv6":null}`; got != want {
		t.Errorf("lease %s, want %s", got, want)
	}
	a.ping(addr("10.0.80.1"))
}

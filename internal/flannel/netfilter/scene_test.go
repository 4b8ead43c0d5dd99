//go:build linux

package netfilter_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/netfilter"
	"github.com/weftnet/weft/internal/lab"
)

// scene is seed 002's: two hosts on one segment, each with a docker0 and a
// container behind it, and somebody outside who knows nothing of the network.
type scene struct {
	h, c    [2]*lab.Host
	outside *lab.Host
}

var (
	network4 = netip.MustParsePrefix("172.7.0.0/16")
	network6 = netip.MustParsePrefix("fd00:7::/48")
	subnet4  = [2]netip.Prefix{netip.MustParsePrefix("172.7.21.0/24"), netip.MustParsePrefix("172.7.22.0/24")}
	subnet6  = [2]netip.Prefix{netip.MustParsePrefix("fd00:7:0:21::/64"), netip.MustParsePrefix("fd00:7:0:22::/64")}

	host4 = [2]netip.Prefix{netip.MustParsePrefix("10.4.7.21/24"), netip.MustParsePrefix("10.4.7.22/24")}
	host6 = [2]netip.Prefix{netip.MustParsePrefix("fd00:4::21/64"), netip.MustParsePrefix("fd00:4::22/64")}
	out4  = netip.MustParsePrefix("10.4.7.99/24")
	out6  = netip.MustParsePrefix("fd00:4::99/64")
)

// container is the address of a host's container, and bridge that of docker0.
func container(subnet netip.Prefix) netip.Addr { return bridge(subnet).Next() }
func bridge(subnet netip.Prefix) netip.Addr    { return subnet.Addr().Next() }

func newScene(t *testing.T) *scene {
	t.Helper()
	lab.NeedBridge(t)
	lab.NeedNFTables(t)
	s := &scene{outside: lab.TestHost(t, "outside")}
	ports := []lab.Port{{Host: s.outside, Addrs: []netip.Prefix{out4, out6}}}
	for i, name := range []string{"1", "2"} {
		s.h[i], s.c[i] = lab.TestHost(t, "h"+name), lab.TestHost(t, "c"+name)
		s.addContainer(t, i)
		ports = append(ports, lab.Port{Host: s.h[i], Addrs: []netip.Prefix{host4[i], host6[i]}})
	}
	sw, err := lab.NewSwitch(ports...)
	check(t, err)
	t.Cleanup(func() { check(t, sw.Close()) })
	for i, other := range []int{1, 0} {
		check(t, s.h[i].AddRoute(subnet4[other], "eth0", host4[other].Addr()))
		check(t, s.h[i].AddRoute(subnet6[other], "eth0", host6[other].Addr()))
	}
	return s
}

func (s *scene) addContainer(t *testing.T, i int) {
	t.Helper()
	h, c := s.h[i], s.c[i]
	for _, name := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		check(t, h.Sysctl(name, "1"))
	}
	check(t, h.AddBridge("docker0"))
	for _, subnet := range []netip.Prefix{subnet4[i], subnet6[i]} {
		check(t, h.AddAddr("docker0", netip.PrefixFrom(bridge(subnet), subnet.Bits())))
	}
	check(t, lab.Connect(lab.Port{Host: h, Dev: "veth0"}, lab.Port{Host: c, Addrs: []netip.Prefix{
		netip.PrefixFrom(container(subnet4[i]), 24), netip.PrefixFrom(container(subnet6[i]), 64),
	}}))
	check(t, h.SetMaster("docker0", "veth0"))
	check(t, c.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), "eth0", bridge(subnet4[i])))
	check(t, c.AddRoute(netip.MustParsePrefix("::/0"), "eth0", bridge(subnet6[i])))
}

// rules are what the agent of host i asks for.
func rules(i int) netfilter.Rules {
	return netfilter.Rules{
		Network: network4, Subnet: subnet4[i], Network6: network6, Subnet6: subnet6[i],
		Forward: true, Masquerade: true, RandomFully: true,
	}
}

// keeper calls a keeper in its host.
type keeper struct {
	h *lab.Host
	k *netfilter.Keeper
}

func newKeeper(h *lab.Host) keeper { return keeper{h, netfilter.New(zap.NewNop(), nil)} }

func (k keeper) apply(t *testing.T, r netfilter.Rules) {
	t.Helper()
	check(t, k.h.Do(func() error { return k.k.Apply(context.Background(), r) }))
}

func (k keeper) resync(t *testing.T) {
	t.Helper()
	check(t, k.h.Do(func() error { return k.k.Resync(context.Background()) }))
}

func (k keeper) remove(t *testing.T) {
	t.Helper()
	check(t, k.h.Do(func() error { return k.k.Remove(context.Background()) }))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long a packet is waited for that nobody drops.
const patience = 5 * time.Second

// shut is how long one is waited for that should be dropped.
const shut = 100 * time.Millisecond

// seenAs sends a datagram and returns the source that its receiver sees.
func seenAs(from, to *lab.Host, addr netip.Addr, wait time.Duration) (netip.Addr, error) {
	server, err := listen(to, netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer server.Close()
	any4or6 := "0.0.0.0:0"
	if addr.Is6() {
		any4or6 = "[::]:0"
	}
	client, err := listen(from, any4or6)
	if err != nil {
		return netip.Addr{}, err
	}
	defer client.Close()
	return deliver(client, server, wait)
}

func deliver(client, server *net.UDPConn, wait time.Duration) (netip.Addr, error) {
	if _, err := client.WriteToUDPAddrPort([]byte("who am I"), server.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		return netip.Addr{}, err
	}
	if err := server.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return netip.Addr{}, err
	}
	_, source, err := server.ReadFromUDPAddrPort(make([]byte, 100))
	return source.Addr().Unmap(), err
}

func listen(h *lab.Host, addr string) (c *net.UDPConn, err error) {
	err = h.Do(func() error {
		a, err := net.ResolveUDPAddr("udp", addr)
		if err == nil {
			c, err = net.ListenUDP("udp", a)
		}
		return err
	})
	return c, err
}

// sees fails the test unless a datagram arrives with the source.
func sees(t *testing.T, from, to *lab.Host, addr, want netip.Addr) {
	t.Helper()
	got, err := seenAs(from, to, addr, patience)
	if err != nil {
		t.Fatalf("%s to %s %v: %v", from.Name, to.Name, addr, err)
	}
	if got != want {
		t.Fatalf("%s to %s %v is seen as %v, not %v", from.Name, to.Name, addr, got, want)
	}
}

// dropped fails the test if a datagram arrives.
func dropped(t *testing.T, from, to *lab.Host, addr netip.Addr) {
	t.Helper()
	got, err := seenAs(from, to, addr, shut)
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%s to %s %v is not dropped: seen as %v, %v", from.Name, to.Name, addr, got, err)
	}
}

// eachOther fails the test unless the containers reach each other, both ways
// and both families, and see each other's own address.
func (s *scene) eachOther(t *testing.T) {
	t.Helper()
	for _, subnets := range [][2]netip.Prefix{subnet4, subnet6} {
		for i, other := range []int{1, 0} {
			sees(t, s.c[i], s.c[other], container(subnets[other]), container(subnets[i]))
		}
		if err := s.c[0].Ping(container(subnets[1]), lab.PingOptions{}).Lost(); err != nil {
			t.Fatal(err)
		}
	}
}

// apart fails the test unless nothing passes between the containers.
func (s *scene) apart(t *testing.T) {
	t.Helper()
	for _, subnets := range [][2]netip.Prefix{subnet4, subnet6} {
		for i, other := range []int{1, 0} {
			dropped(t, s.c[i], s.c[other], container(subnets[other]))
		}
	}
}

// leaves fails the test unless what leaves the network has the host's address.
func (s *scene) leaves(t *testing.T) {
	t.Helper()
	for i := range s.c {
		sees(t, s.c[i], s.outside, out4.Addr(), host4[i].Addr())
		sees(t, s.c[i], s.outside, out6.Addr(), host6[i].Addr())
	}
}

// lockFile keeps iptables' lock out of the way of the machine's.
func lockFile(t *testing.T) {
	t.Helper()
	t.Setenv("XTABLES_LOCKFILE", filepath.Join(t.TempDir(), "xtables.lock"))
}

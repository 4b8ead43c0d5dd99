package nodes

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/nftables"

	"github.com/weftnet/weft/internal/lab"
)

// Services as kube-proxy makes them (seed 001: their addresses are the underlay's,
// their backends in the overlay): a node and its container ask one whose backend is a
// container of another node, by TCP both ways at once and by datagrams of all
// sizes, while all is left to the devices' offloads, and the answers are the
// service's.
//
// Whom the backend sees depends on who masquerades. Without --ip-masq a node has its
// address in the underlay, so that answers do not come back through the tunnel, and a
// container is hidden by docker's rule. With --ip-masq a node has its address in the
// network, and is answered through the tunnel, also where it takes a packet from
// nowhere else (rp_filter); a container has its own. What leaves the network has
// the node's address in the underlay either way.
func TestServices(t *testing.T) {
	t.Parallel()
	lab.NeedNFTables(t)
	for name, c := range map[string]servicesCase{
		"vxlan/user":   {overVXLAN, "user", "flannel.1"},
		"vxlan/kernel": {overVXLAN, "kernel", "flannel.1"},
		"udp":          {overUDP, "user", "flannel0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needDatapath(t, c.datapath)
			o := c.start(t)
			n := o.nodes[0]
			o.lookBack(loose)
			o.askAll(n.addr, n.base())

			o.masquerade("--datapath=" + c.datapath)
			o.lookBack(strict)
			o.askAll(n.base(), o.addrs[0])
			if c.datapath == "user" {
				o.shortService(c.device)
			}
		})
	}
}

// A service of IPv6, asked without --ip-masq: a node has its address in the underlay,
// and a container its own, whatever carries the packets at each end.
func TestServiceOfIPv6(t *testing.T) {
	t.Parallel()
	lab.NeedNFTables(t)
	service := netip.MustParseAddr("fd00:10:96::10")
	for _, of := range [][2]string{{"user", "user"}, {"kernel", "kernel"}, {"user", "kernel"}, {"kernel", "user"}} {
		t.Run(of[0]+" and "+of[1], func(t *testing.T) {
			t.Parallel()
			needDatapath(t, of[0])
			needDatapath(t, of[1])
			w := newDual(t, "vxlan", of[0], of[1])
			containers, addrs := w.dualContainers()
			n, to := w.nodes[0], addrs[1][1]
			n.nft(func(c *nftables.Conn) {
				natChains(c, &nftables.Table{Name: "nat", Family: nftables.TableFamilyIPv6})
			})
			n.serve(service, to)
			check(t, n.AddRoute(netip.PrefixFrom(service, 128), "eth0", netip.MustParseAddr("fd00:10:4:7::1")))
			eventually(t, func() error { return containers[0].Ping(to, lab.PingOptions{}).Lost() })
			for _, q := range []question{
				{n.Host, service, containers[1], to, n.addr6()},
				{containers[0], service, containers[1], to, addrs[0][1]},
			} {
				if err := q.both(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

type servicesCase struct{ config, datapath, device string }

// start makes the nodes, without --ip-masq and with docker's rule, the service on the
// first one, and a host outside that would answer a container itself, too.
func (c servicesCase) start(t *testing.T) *overlay {
	t.Helper()
	o := newDockerHosts(t, c.config, (*node).dockerTables, "--datapath="+c.datapath)
	for _, n := range o.nodes[:2] {
		o.checkOffloads(n, c.device)
		n.dockerMasquerade()
	}
	n, outside := o.nodes[0], o.nodes[2]
	check(t, outside.AddRoute(n.file().Subnet, "eth0", n.addr))
	check(t, n.AddRoute(netip.PrefixFrom(service, 32), "eth0", netip.MustParseAddr("10.4.7.1")))
	n.serve(service, o.addrs[1])
	eventually(t, func() error { return o.containers[0].Ping(o.addrs[1], lab.PingOptions{}).Lost() })
	return o
}

// lookBack has the nodes look at where packets come from. The strict way is what some
// distributions have: a packet has to come from where its answer would go.
func (o *overlay) lookBack(mode string) {
	o.t.Helper()
	for _, n := range o.nodes[:2] {
		check(o.t, n.Sysctl("net.ipv4.conf.all.rp_filter", mode))
	}
}

const (
	strict = "1"
	loose  = "2"
)

// askAll has the first node and its container ask the service, and the container a
// host outside. The backend has to see them as the two that are given.
func (o *overlay) askAll(node, container netip.Addr) {
	o.t.Helper()
	out := o.nodes[2]
	for _, q := range []question{
		o.toService(o.nodes[0].Host, node), o.toService(o.containers[0], container),
		{o.containers[0], out.addr, out.Host, out.addr, o.nodes[0].addr},
	} {
		if err := q.both(); err != nil {
			o.t.Error(err)
		}
	}
}

// masquerade has --ip-masq in the place of docker's rule.
func (o *overlay) masquerade(flags ...string) {
	o.t.Helper()
	for _, i := range []int{1, 0} { // the second one's store is with the first one's agent
		n := o.nodes[i]
		n.flush("nat", "POSTROUTING")
		n.signal(syscall.SIGTERM)
		n.start(append(flags, "--ip-masq", "--iptables-resync=1")...).ready()
	}
}

// base is the node's own address in the network, that of its device.
func (n *node) base() netip.Addr {
	n.t.Helper()
	return n.file().Subnet.Masked().Addr()
}

// shortService has the node ask the service until the kernel carries that past
// weft's process, out and in.
func (o *overlay) shortService(device string) {
	o.t.Helper()
	if lab.LackOfShortcuts() != nil {
		return // without them nothing does
	}
	n := o.nodes[0]
	eventually(o.t, func() error {
		before := n.short(device)
		if err := o.toService(n.Host, n.base()).overTCP(); err != nil {
			return err
		}
		if s := n.short(device).since(before); s.out == 0 || s.in == 0 {
			return fmt.Errorf("%s: the kernel has carried %+v", n.Name, s)
		}
		return nil
	})
}

// short is what of a link the kernel has carried past weft's process.
type short struct{ out, in uint64 }

func (s short) since(before short) short { return short{s.out - before.out, s.in - before.in} }

var shortLine = regexp.MustCompile(`offload shortcut_([tr])x +(\d+)`)

func (n *node) short(device string) (s short) {
	n.t.Helper()
	var errs []error
	for _, line := range shortLine.FindAllStringSubmatch(n.run("stats", device).Stdout, 2) {
		count, err := strconv.ParseUint(line[2], 10, 64)
		if errs = append(errs, err); line[1] == "t" {
			s.out = count
		} else {
			s.in = count
		}
	}
	check(n.t, errors.Join(errs...))
	return s
}

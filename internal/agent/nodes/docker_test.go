package nodes

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// Hosts as dockerd leaves them, with a FORWARD that drops and a masquerade of its
// own: containers reach each other through weft's and the kernel's device, by the
// addresses that they have; what leaves the cluster has the host's (the log of
// seed 002's nginx); a service's address in the underlay leads to a container of
// the other host (seed 001), for containers and for a host that has a route to it
// only, while all is left to the devices' offloads; and rules that were flushed by
// hand come back.
func TestDockerHosts(t *testing.T) {
	t.Parallel()
	lab.NeedNFTables(t)
	eachDatapath(t, func(t *testing.T, datapath string) {
		o := newDockerHosts(t, overVXLAN, (*node).dockerTables, "--ip-masq", "--datapath="+datapath)
		outside := o.nodes[2]
		check(t, outside.AddRoute(netip.PrefixFrom(service, 32), "eth0", o.nodes[0].addr))
		for _, n := range o.nodes[:2] {
			o.checkOffloads(n, "flannel.1")
			n.dockerMasquerade()
		}
		o.nodes[0].serve(service, o.addrs[1])
		o.checkTraffic()

		for _, n := range o.nodes[:2] { // docker's rule comes before weft's now
			n.flush("filter", "FORWARD")
			n.flush("nat", "POSTROUTING")
			n.dockerMasquerade()
		}
		o.checkTraffic()

		for _, n := range o.nodes[:2] { // and here is none of docker's
			n.nft((*nftables.Conn).FlushRuleset)
			n.dockerTables()
		}
		o.nodes[0].serve(service, o.addrs[1])
		o.checkTraffic()
	})
}

// checkTraffic has the containers reach each other by their own addresses, a host
// outside the network see that of the node, and the first container and that host
// use the service.
func (o *overlay) checkTraffic() {
	o.t.Helper()
	o.reach()
	outside := o.nodes[2]
	o.seen(o.containers[0], o.containers[1], o.addrs[1], o.addrs[0])
	o.seen(o.containers[0], outside.Host, outside.addr, o.nodes[0].addr)
	check(o.t, errors.Join(
		o.toService(o.containers[0], o.addrs[0]).overTCP(),
		o.toService(outside.Host, o.nodes[0].base()).overTCP(),
	))
}

// checkOffloads wants a node and its container to leave to devices what these can
// do of checksums and segments.
func (o *overlay) checkOffloads(n *node, device string) {
	o.t.Helper()
	for dev, wants := range map[string][]string{
		"eth0":  slices.Sorted(maps.Keys(lab.OffloadsOn())),
		"veth0": slices.Sorted(maps.Keys(lab.OffloadsOn())),
		device:  {"tx-checksum-ip-generic", "tx-generic-segmentation", "tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation"},
	} {
		on, err := n.Offloads(dev)
		check(o.t, err)
		for _, name := range wants {
			if name != "rx-gro" && !on[name] {
				o.t.Errorf("%s: %s of %s is off", n.Name, name, dev)
			}
		}
	}
}

var service = netip.MustParseAddr("10.96.0.10")

// newDockerHosts makes two nodes, prepared before their agents are started, and a
// host outside the network.
func newDockerHosts(t *testing.T, config string, prepare func(*node), flags ...string) *overlay {
	t.Helper()
	o := &overlay{network: newNetwork(t, 3)}
	for i, n := range o.nodes[:2] {
		prepare(n)
		n.start(append(flags, "--iptables-resync=1")...)
		if i == 0 {
			o.configure(config)
		}
	}
	for i, n := range o.nodes[:2] {
		n.ready()
		o.containers[i], o.addrs[i] = n.container()
	}
	return o
}

// nft changes a host's rules.
func (n *node) nft(change func(*nftables.Conn)) {
	n.t.Helper()
	check(n.t, n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		change(c)
		return c.Flush()
	}))
}

// dockerTables makes those of iptables over nf_tables, FORWARD dropping.
func (n *node) dockerTables() {
	n.t.Helper()
	n.nft(func(c *nftables.Conn) {
		drops := nftables.ChainPolicyDrop
		c.AddChain(&nftables.Chain{
			Name: "FORWARD", Table: c.AddTable(ipTable("filter")), Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drops,
		})
		natChains(c, ipTable("nat"))
	})
}

// natChains makes a table of nat and those of iptables in it.
func natChains(c *nftables.Conn, nat *nftables.Table) {
	c.AddTable(nat)
	for name, hook := range map[string]*nftables.ChainHook{
		"PREROUTING": nftables.ChainHookPrerouting, "OUTPUT": nftables.ChainHookOutput, "POSTROUTING": nftables.ChainHookPostrouting,
	} {
		priority := nftables.ChainPriorityNATDest
		if name == "POSTROUTING" {
			priority = nftables.ChainPriorityNATSource
		}
		c.AddChain(&nftables.Chain{Name: name, Table: nat, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: priority})
	}
}

func ipTable(name string) *nftables.Table {
	return &nftables.Table{Name: name, Family: nftables.TableFamilyIPv4}
}

func (n *node) appendRule(table, chain string, exprs ...expr.Any) {
	n.t.Helper()
	n.nft(func(c *nftables.Conn) {
		c.AddRule(&nftables.Rule{Table: ipTable(table), Chain: &nftables.Chain{Name: chain, Table: ipTable(table)}, Exprs: exprs})
	})
}

func (n *node) flush(table, chain string) {
	n.t.Helper()
	n.nft(func(c *nftables.Conn) { c.FlushChain(&nftables.Chain{Name: chain, Table: ipTable(table)}) })
}

// dockerMasquerade is -A POSTROUTING -s SUBNET ! -o docker0 -j MASQUERADE.
func (n *node) dockerMasquerade() {
	n.t.Helper()
	n.masqueradeOut()
}

// masqueradeOut is that rule for what matches more.
func (n *node) masqueradeOut(more ...expr.Any) {
	n.t.Helper()
	subnet := n.file().Subnet
	n.appendRule("nat", "POSTROUTING", slices.Concat(address(12, subnet.Addr().AsSlice()[:subnet.Bits()/8]), more, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: append([]byte("docker0"), make([]byte, 9)...)},
		&expr.Masq{},
	})...)
}

// serve is kube-proxy's -d SERVICE -j DNAT --to BACKEND, in PREROUTING for others
// and in OUTPUT for the node itself, in the place of what was there.
func (n *node) serve(service, backend netip.Addr) {
	n.t.Helper()
	table, at := ipTable("nat"), uint32(16) // where the destination is in the IP header
	if service.Is6() {
		table.Family, at = nftables.TableFamilyIPv6, 24
	}
	n.nft(func(c *nftables.Conn) {
		for _, name := range []string{"PREROUTING", "OUTPUT"} {
			chain := &nftables.Chain{Name: name, Table: table}
			c.FlushChain(chain)
			c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: append(address(at, service.AsSlice()),
				&expr.Immediate{Register: 1, Data: backend.AsSlice()},
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(table.Family), RegAddrMin: 1})})
		}
	})
}

// address compares what is in the IP header from offset on.
func address(offset uint32, want []byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(want))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want},
	}
}

// seen waits until the far end sees an address.
func (o *overlay) seen(from, to *lab.Host, dst, want netip.Addr) {
	o.t.Helper()
	eventually(o.t, func() error { return o.source(from, to, dst, want) })
}

// source returns an error unless a ping comes from the address that is wanted.
func (o *overlay) source(from, to *lab.Host, dst, want netip.Addr) error {
	c, err := to.Capture("eth0")
	if err != nil {
		return err
	}
	defer c.Stop()
	if err := from.Ping(dst, lab.PingOptions{Size: walkSize}).Lost(); err != nil {
		return err
	}
	var ip *layers.IPv4
	if _, err := c.Wait(soon, func(f lab.Frame) bool {
		p := dissect.Packet(f)
		ip, _ = p.NetworkLayer().(*layers.IPv4)
		return isRequest(p, dst)
	}); err != nil {
		return err
	}
	if ip.SrcIP.String() != want.String() {
		return fmt.Errorf("%s sees %v, want %v", to.Name, ip.SrcIP, want)
	}
	return nil
}

//go:build linux

package benchmark

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weftnet/weft/internal/flannelnode"
	"github.com/weftnet/weft/internal/lab"
)

// Overlays are the paths from container to container: two nodes of a flannel
// network, whose agents have programmed them from etcd, and a container behind
// the bridge of each. Every overlay has two nodes and a wire of its own, since a
// host has one flannel network, with the packet filter's rules that go with it.
//
// The wire is what the mode says, and nothing else is: the containers' veths and
// their bridge keep the offloads that they have on every host, because those are
// software, and no network card takes them away. So what a container sends is a
// super-frame in both modes, and what has to cut it is the path.
func Overlays() []Path {
	all := []Path{
		{Name: "agents-vxlan-user", network: "vxlan", words: []string{"--datapath=user"}, device: "flannel.1"},
		{Name: kernelOverlay, Ratio: "x_kernel", network: "vxlan", words: []string{"--datapath=kernel"}},
		{Name: "agents-udp", network: "udp", device: "flannel0"},
		{Name: plainOverlay, Ratio: "x_host-gw", network: "host-gw"},
	}
	for i := range all {
		all[i].Extra, all[i].lay = true, layOverlay
	}
	return slices.DeleteFunc(all, func(p Path) bool { return p.Name == kernelOverlay && lab.LackOfKernelVXLAN() != nil })
}

// The overlays that others are compared with.
const (
	kernelOverlay = "agents-vxlan-kernel"
	plainOverlay  = "agents-host-gw"
)

// OverlayReferences are the paths that overlays are compared with. The first is
// as flannel has it, by the kernel's vxlan: the same containers, bridges, routes
// and rules, and another device; where there is none, by routes alone. The other
// is the kernel's device by itself, from host to host, which says what all that
// costs.
func OverlayReferences() []Path {
	wanted, more := kernelOverlay, []Path{{Name: "kernel", Ratio: "x_link", lay: layKernel}}
	if lab.LackOfKernelVXLAN() != nil {
		wanted, more = plainOverlay, nil
	}
	return append(slices.DeleteFunc(Overlays(), func(p Path) bool { return p.Name != wanted }), more...)
}

// layOverlay makes two nodes, and a container behind both.
func layOverlay(b *Bed, p *Path, _ byte) (from, to End, err error) {
	nodes, err := b.newNodes(p)
	if err != nil {
		return from, to, err
	}
	for i, end := range []*End{&from, &to} {
		if *end, err = b.newContainer(p, nodes[i]); err != nil {
			return from, to, err
		}
	}
	// An agent is ready before it has heard of the other's lease.
	err = lab.Eventually(leaseLimit, func() error { return from.Host.Ping(to.Addr, lab.PingOptions{}).Lost() })
	return from, to, err
}

// leaseLimit is how long it may take until a node is known to another.
const leaseLimit = 30 * time.Second

// newNodes makes two nodes of a network of the path's kind. The first runs etcd.
func (b *Bed) newNodes(p *Path) (nodes [2]*flannelnode.Node, err error) {
	for i := range nodes {
		if nodes[i], err = b.newNode(p, fmt.Sprint("node", i)); err != nil {
			return nodes, err
		}
	}
	if err := b.wire(nodes[0].Host, nodes[1].Host); err != nil {
		return nodes, err
	}
	store := "http://" + lab.PairA4.Addr().String() + ":2379"
	config := fmt.Sprintf(`{"Network":"10.244.0.0/16","Backend":{"Type":%q}}`, p.network)
	err = errors.Join(
		nodes[0].Start(append([]string{"--embedded-etcd=" + store}, p.words...)...),
		nodes[1].Start(append([]string{"--etcd-endpoints=" + store}, p.words...)...),
		nodes[0].Configure(store, config),
	)
	if err != nil {
		return nodes, err
	}
	return nodes, errors.Join(nodes[0].Ready(), nodes[1].Ready())
}

// newNode makes a node that is ended with the bed.
func (b *Bed) newNode(p *Path, name string) (*flannelnode.Node, error) {
	h, err := b.newHost(p.Name + "-" + name)
	if err != nil {
		return nil, err
	}
	n, err := flannelnode.New(h)
	if err != nil {
		return nil, err
	}
	n.Weft.Env = append(n.Weft.Env, p.env...)
	b.nodes = append(b.nodes, n)
	return n, nil
}

// newContainer makes the end of a path in a container of a node. What weft counts
// of it is in the node.
func (b *Bed) newContainer(p *Path, n *flannelnode.Node) (End, error) {
	c, err := b.newHost(n.Name + "-container")
	if err != nil {
		return End{}, err
	}
	end := End{Host: c}
	if end.Addr, err = n.Attach(c); err != nil || p.device == "" {
		return end, err
	}
	netns, err := n.Inode()
	end.link = &weftLink{weft: n.Weft, name: p.device, lock: n.RunDir().Lock(netns)}
	return end, err
}

// wire lays one of the bed's mode between two hosts.
func (b *Bed) wire(from, to *lab.Host) error {
	if err := lab.Pair(from, to); err != nil {
		return err
	}
	return errors.Join(b.mode.apply(from, "eth0"), b.mode.apply(to, "eth0"))
}

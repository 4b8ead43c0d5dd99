package nodes

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// kind is a config, and what a node has with it.
type kind struct {
	config string
	device string                     // "" for none
	route  func(n, peer *node) string // by which the node reaches the peer, nil for none
}

var (
	kindHostGW = kind{hostGW, "", func(_, peer *node) string {
		return fmt.Sprintf("%v via %v dev eth0", peer.file().Subnet.Masked(), peer.addr)
	}}
	kindAlloc  = kind{`{"Network":"172.7.0.0/16","Backend":{"Type":"alloc"}}`, "", nil}
	kindVXLAN  = kind{overVXLAN, "flannel.1", func(_, peer *node) string { return overVXLANTo(peer) }}
	kindDirect = kind{`{"Network":"172.7.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}`, "flannel.1", kindHostGW.route}
	kindUDP    = kind{`{"Network":"172.7.0.0/16","Backend":{"Type":"udp"}}`, "flannel0", func(*node, *node) string {
		return "172.7.0.0/16 via <nil> dev flannel0 type 1"
	}}
)

// A config of another kind is told of at once and followed from the next start,
// which takes back what the former kind needed. The subnets stay.
func TestConfigSwitched(t *testing.T) {
	t.Parallel()
	w := pair(t)
	from, to := pings(t, w)
	was := kindHostGW
	for _, now := range []kind{kindAlloc, kindVXLAN, kindHostGW, kindUDP, kindVXLAN} {
		w.change(was, now)
		was = now
		if now.route != nil {
			eventually(t, func() error { return from.Ping(to, lab.PingOptions{}).Lost() })
		}
	}
}

// change has both nodes follow another config of the same network.
func (w *network) change(was, now kind) {
	w.t.Helper()
	var routes, subnets []string
	for i, n := range w.nodes {
		subnets = append(subnets, n.file().Subnet.String())
		route := "none"
		if was.route != nil {
			route = was.route(n, w.nodes[1-i])
			eventually(w.t, func() error { return n.has(route) })
		}
		routes = append(routes, route)
	}
	w.restart(now.config)
	for i, n := range w.nodes {
		if got := n.file().Subnet.String(); got != subnets[i] {
			w.t.Errorf("%s: subnet %s, before %s", n.Name, got, subnets[i])
		}
		if n.has(routes[i]) == nil {
			w.t.Errorf("%s: the route of the former config is left: %s", n.Name, routes[i])
		}
		if _, err := n.Netlink().LinkByName(was.device); was.device != "" && err == nil {
			w.t.Errorf("%s: the device of the former config is left: %s", n.Name, was.device)
		}
		if now.route != nil {
			eventually(w.t, func() error { return n.has(now.route(n, w.nodes[1-i])) })
		}
	}
}

// restart writes a config, of which running agents tell, and which they go on
// without until they are started again.
func (w *network) restart(config string) {
	w.t.Helper()
	before := make([]string, len(w.nodes))
	for i, n := range w.nodes {
		before[i] = n.routes()
	}
	w.configure(config)
	for i, n := range w.nodes {
		eventually(w.t, func() error {
			if !strings.Contains(n.Agent.Stderr(), "the network config has changed: restart the agent") {
				return errors.New(n.Agent.Stderr())
			}
			return nil
		})
		if after := n.routes(); after != before[i] {
			w.t.Errorf("%s: routes before the restart %s, before the change %s", n.Name, after, before[i])
		}
	}
	for _, n := range w.nodes {
		n.signal(syscall.SIGTERM)
	}
	for _, n := range w.nodes {
		n.start("--datapath=user")
	}
	for _, n := range w.nodes {
		n.ready()
	}
}

// With another network nothing of the former one is left, where the device or
// the kind of routes is the same too.
func TestNetworkMoved(t *testing.T) {
	t.Parallel()
	w := pair(t)
	was := "172.7."
	w.await(kindHostGW)
	for _, c := range []struct {
		is, network string
		kind
	}{
		{"172.9.", "172.9.0.0/16", kindHostGW}, {"172.7.", "172.7.0.0/16", kindUDP},
		{"172.9.", "172.9.0.0/16", kindUDP}, {"172.7.", "172.7.0.0/16", kindVXLAN}, {"172.9.", "172.9.0.0/16", kindVXLAN},
	} {
		w.restart(strings.ReplaceAll(c.config, "172.7.0.0/16", c.network))
		for _, n := range w.nodes {
			if subnet := n.file().Subnet.String(); !strings.HasPrefix(subnet, c.is) {
				t.Errorf("%s: subnet %s, want one of %s", n.Name, subnet, c.network)
			}
			eventually(t, func() error { // the peer's former lease is known for a moment
				if routes := n.routes(); strings.Contains(routes, was) {
					return fmt.Errorf("%s: with %s the former network is left: %s", n.Name, c.config, routes)
				}
				return nil
			})
			if c.device != "" {
				device, err := n.Netlink().LinkByName(c.device)
				check(t, err)
				n.checkAddress(device)
			}
		}
		if c.device != "flannel0" {
			w.await(c.kind)
		}
		was = c.is
	}
}

// Subnets of another length are leased anew, and nothing leads to the former ones,
// by whichever way it did.
func TestSubnetLenChanged(t *testing.T) {
	t.Parallel()
	w := pair(t)
	w.await(kindHostGW)
	for i, k := range []kind{kindHostGW, kindDirect, kindDirect, kindVXLAN, kindVXLAN, kindUDP} {
		former, length := [2]string{}, 25-i%2
		for i, n := range w.nodes {
			former[i] = n.file().Subnet.Masked().String()
		}
		w.restart(strings.Replace(k.config, `"Backend"`, fmt.Sprintf(`"SubnetLen":%d,"Backend"`, length), 1))
		if leases := w.leases(); len(leases) != 2 {
			t.Errorf("%v, want a lease for each node", leases)
		}
		w.await(k)
		for i, n := range w.nodes {
			if subnet := n.file().Subnet; subnet.Bits() != length {
				t.Errorf("%s: subnet %v, want one of /%d", n.Name, subnet, length)
			}
			eventually(t, func() error { // the peer's former lease is known for a moment
				if routes := n.routes(); strings.Contains(routes, former[1-i]) {
					return fmt.Errorf("%s: with %s of /%d a route to %s is left: %s", n.Name, k.config, length, former[1-i], routes)
				}
				return nil
			})
			if k.device != "" {
				device, err := n.Netlink().LinkByName(k.device)
				check(t, err)
				n.checkAddress(device)
			}
		}
	}
}

// await waits until the nodes reach each other as is usual for the kind.
func (w *network) await(k kind) {
	w.t.Helper()
	for i, n := range w.nodes {
		eventually(w.t, func() error { return n.has(k.route(n, w.nodes[1-i])) })
	}
}

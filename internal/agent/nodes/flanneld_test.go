//go:build flanneld

package nodes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// Flannel's own program and the version of etcd's interface that it knows, which is
// 2 before v0.18. It needs no iptables.
const (
	envFlanneld    = "WEFT_TEST_FLANNELD" // path
	envFlanneldAPI = "WEFT_TEST_FLANNELD_API"
)

// A flanneld between two weft nodes: all reach one another. Then one of the others
// leaves for good, and another one comes; weft stands in for flanneld with the same
// subnet, and flanneld comes back.
func TestFlanneld(t *testing.T) {
	if os.Getenv(envFlanneld) == "" {
		t.Fatalf("%s does not say where flanneld is", envFlanneld)
	}
	for name, c := range map[string]struct{ config, datapath string }{
		"vxlan":          {overVXLAN, "user"},
		"vxlan (kernel)": {overVXLAN, "kernel"},
		"VNI and port":   {`{"Network":"172.7.0.0/16","Backend":{"Type":"vxlan","VNI":42,"Port":4789}}`, "user"},
		"DirectRouting":  {`{"Network":"172.7.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}`, "user"},
		"udp":            {overUDP, "user"},
		"host-gw":        {hostGW, "auto"},
	} {
		t.Run(name, func(t *testing.T) {
			lab.NeedKernelVXLAN(t)
			meetFlanneld(t, c.config, "--datapath="+c.datapath)
		})
	}
}

func meetFlanneld(t *testing.T, config string, flags ...string) {
	w := newNetwork(t, 3)
	keys := registry(w)
	if os.Getenv(envFlanneldAPI) == "2" {
		keys, flags = olderAPI{w, prefix}, append(flags, "--etcd-api=2")
	}
	first, other, last := w.nodes[0], w.nodes[1], w.nodes[2]
	first.start(flags...)
	keys.configure(config)
	last.start(flags...)
	first.ready()
	last.ready()
	other.startFlannel()
	all := w.everywhere()
	if config == hostGW { // which gives nodes no address of the overlay but their bridge's
		for i, n := range w.nodes {
			all[i][0].addr = n.file().Subnet.Addr().Next()
		}
	}
	reach(t, all, 64)

	gone := keys.leases()[last.leaseKey()]
	last.takeBack(flags...)
	if left := keys.leases()[last.leaseKey()]; gone == "" || left != "" {
		t.Errorf("the lease of %s was %q and is %q", last.Name, gone, left)
	}
	if config != overUDP { // where flannel's proxy has the routes
		subnet := last.file().Subnet.String()
		eventually(t, func() error {
			if routes := other.routes(); strings.Contains(routes, subnet) {
				return fmt.Errorf("flanneld still has the way to %s:\n%s", last.Name, routes)
			}
			return nil
		})
	}
	last.start(flags...).ready()
	reach(t, all, 1) // the same subnet, that the file names

	other.standsIn(flags...)
	reach(t, all, 1)
	other.takeBack(flags...)
	other.startFlannel()
	reach(t, all, 1)
}

// Both families, which flanneld knows since v0.15: what each has of the other is what
// two nodes of weft have.
func TestFlanneldDual(t *testing.T) {
	if os.Getenv(envFlanneld) == "" || os.Getenv(envFlanneldAPI) == "2" {
		t.Fatalf("%s does not say where a flanneld of etcd v3 is", envFlanneld)
	}
	for _, backend := range []string{"vxlan", "host-gw"} {
		for _, datapath := range []string{"user", "kernel"} {
			t.Run(backend+"/"+datapath, func(t *testing.T) {
				lab.NeedKernelVXLAN(t)
				w := newNetwork(t, 2)
				for _, n := range w.nodes {
					n.both()
				}
				w.nodes[0].start("--datapath=" + datapath)
				w.configure(fmt.Sprintf(dualStack, backend))
				w.nodes[0].ready()
				w.nodes[1].startFlannel()
				for i, n := range w.nodes {
					n.checkDual(backend, w.nodes[1-i])
				}
				w.reachDual()
			})
		}
	}
}

// startFlannel starts flanneld as the node's agent, and waits until it has a subnet.
func (n *node) startFlannel() {
	n.t.Helper()
	p, err := n.Spawn(nil, os.Getenv(envFlanneld), "-iface=eth0", "-subnet-file="+n.SubnetFile(), "-iptables-forward-rules=false", "-etcd-endpoints="+n.net.store)
	check(n.t, err)
	n.Agent = p
	eventually(n.t, func() error {
		if !strings.Contains(p.Stderr(), "Running backend") {
			return fmt.Errorf("flanneld does not run yet:\n%s", p.Stderr())
		}
		return nil
	})
}

// takeBack ends the agent and takes back what it made. The subnet stays noted for the
// next one, so that containers keep their addresses.
func (n *node) takeBack(flags ...string) {
	n.t.Helper()
	if p := n.Agent; p != nil {
		_, err := p.Stop()
		check(n.t, err)
	}
	noted, err := os.ReadFile(n.SubnetFile())
	check(n.t, err)
	if out := n.run(append([]string{"agent", "--cleanup"}, n.flags(flags...)...)...); out.Status != 0 {
		n.t.Fatal(out.Stderr)
	}
	check(n.t, os.WriteFile(n.SubnetFile(), noted, 0o644))
}

// standsIn has weft go on in the place of flanneld.
func (n *node) standsIn(flags ...string) {
	n.t.Helper()
	had := n.leaseKey()
	_, err := n.Agent.Stop()
	check(n.t, err)
	n.start(flags...).ready()
	if has := n.leaseKey(); has != had {
		n.t.Errorf("%s had %s of flanneld, and has %s", n.Name, had, has)
	}
}

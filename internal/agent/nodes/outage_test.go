package nodes

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/lab"
)

// What a node says of a store that is away, in its log and to /readyz, and when
// that is over.
const (
	isAway = "forwarding goes on with the peers that are known, without etcd: etcd does not answer: "
	isBack = "etcd answers again"
)

// The lease of a node whose agent is dead ends, and with it the way there, but
// no other. Started again it has its subnet again.
func TestPeerExpires(t *testing.T) {
	t.Parallel() // it mostly waits
	o := newOutside(t, 3, etcdtest.Config{}).begin(3, overVXLAN)
	gone := o.nodes[2]
	route, key := overVXLANTo(gone), "subnets/"+gone.leaseKey()
	others := o.nodes[:2]
	for _, n := range others {
		eventually(t, func() error { return n.has(route) })
	}
	pings := o.keepPinging()
	gone.signal(syscall.SIGKILL)
	record, _, _ := o.get(key)
	o.put(key, record, 1) // what is left of its day
	for _, n := range others {
		eventually(t, func() error {
			if n.has(route) == nil {
				return errors.New(n.Name + " has the route still")
			}
			return nil
		})
		n.probes(http.StatusOK, "flanneld is ready")
	}
	if record, _, _ := o.get(key); record != "" {
		t.Error("the route went before the lease did:", record)
	}
	gone.start("--datapath=user").ready()
	container, addr := gone.container()
	eventually(t, func() error { return container.Ping(o.addrs[0], lab.PingOptions{}).Lost() })
	check(t, o.containers[0].Ping(addr, lab.PingOptions{Count: 10}).Lost())
	check(t, pings.end())
	if back := "subnets/" + gone.leaseKey(); back != key {
		t.Errorf("the subnet is %s, and was %s", back, key)
	}
}

// A lease that somebody deletes under a running node is there again, and no
// packet is lost for it at either end.
func TestLeaseRevoked(t *testing.T) {
	o := newOutside(t, 2, etcdtest.Config{}).begin(2, overVXLAN)
	before, file := o.leases(), o.nodes[1].file()
	pings := o.keepPinging()
	stream := startStream(t, o.containers[0], o.containers[1], o.addrs[1])
	for i := range 3 {
		o.del("subnets/" + o.nodes[1].leaseKey())
		eventually(t, func() error {
			if said := o.nodes[1].said("the lease was gone and is there again"); said != i+1 {
				return fmt.Errorf("told %d times of %d", said, i+1)
			}
			return nil
		})
		stream.more(perSecond / 10)
	}
	pings.another()
	stream.whole()
	check(t, pings.end())
	if after := o.leases(); fmt.Sprint(after) != fmt.Sprint(before) || o.nodes[1].file() != file {
		t.Errorf("leases %v, before %v; file %v, before %v", after, before, o.nodes[1].file(), file)
	}
	for _, n := range o.nodes {
		n.probes(http.StatusOK, "flanneld is ready")
	}
}

// Another node's lease in the place of this one's ends the agent, with the
// reason and what to do; started again it has another subnet.
func TestSubnetTaken(t *testing.T) {
	t.Parallel() // it mostly waits
	o := newOutside(t, 2, etcdtest.Config{}).begin(2, overVXLAN)
	n := o.nodes[1]
	key, subnet := "subnets/"+n.leaseKey(), n.file().Subnet
	o.put(key, `{"PublicIP":"10.4.7.99","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}}`, 0)
	out, err := n.Agent.Wait(soon)
	check(t, err)
	want := fmt.Sprintf("weft: the subnet %v of this node (%v) belongs to node 10.4.7.99 by now", subnet.Masked(), n.addr)
	if out.Status != 1 || !strings.HasPrefix(lastLine(out.Stderr), want) {
		t.Errorf("status %d, %s, want %s", out.Status, out.Stderr, want)
	}
	n.saidOnce("started again, the agent leases another, and the containers have to be started anew")
	if again := n.start("--datapath=user").ready().file().Subnet; again == subnet {
		t.Errorf("it has the subnet %v of another node", again)
	}
	eventually(t, func() error { return o.nodes[0].has(overVXLANTo(n)) })
}

// What changed while the nodes could not reach the store, and what the store
// knows no more of, is found when they can.
func TestChangedWhileAway(t *testing.T) {
	t.Parallel() // it mostly waits
	o := newOutside(t, 2, etcdtest.Config{})
	o.put("subnets/10.1.201.0-24", `{"PublicIP":"10.4.7.201"}`, 0)
	o.put("subnets/10.1.202.0-24", `{"PublicIP":"10.4.7.202"}`, 0)
	o.begin(2, overUDP)
	pings := o.keepPinging()
	o.server.Cut()
	for _, n := range o.nodes {
		n.probes(http.StatusServiceUnavailable, "flanneld is not ready yet\n"+isAway)
	}
	pings.another()
	o.put("subnets/10.1.201.0-24", `{"PublicIP":"10.4.7.211"}`, 0)
	o.del("subnets/10.1.202.0-24")
	o.put("subnets/10.1.203.0-24", `{"PublicIP":"10.4.7.203"}`, 0)
	o.compact()
	check(t, o.server.Mend())
	for i, n := range o.nodes {
		want := []string{fmt.Sprintf("%v via %v", o.nodes[1-i].file().Subnet.Masked(), o.nodes[1-i].addr), "10.1.201.0/24 via 10.4.7.211", "10.1.203.0/24 via 10.4.7.203"}
		n.routesTo(want...)
		n.probes(http.StatusOK, "flanneld is ready")
		n.saidOnce("forwarding goes on", isBack)
	}
	pings.another()
	check(t, pings.end())
}

// routesTo waits until the daemon's table has these lines and no others.
func (n *node) routesTo(want ...string) {
	n.t.Helper()
	eventually(n.t, func() error {
		out := n.run("route", "show", "dev", "flannel0")
		lines := strings.Split(strings.TrimSpace(out.Stdout), "\n")
		missing := len(lines) != len(want)
		for _, line := range want {
			missing = missing || !strings.Contains("\n"+out.Stdout, "\n"+line)
		}
		if missing {
			return fmt.Errorf("%s: routes %q, want %q %s", n.Name, lines, want, out.Stderr)
		}
		return nil
	})
}

// A store that is away for longer than a lease lasts and comes back empty: the
// nodes forward all the while, say so once, and have their subnets again. The
// config is the operator's to write.
func TestStoreStartsAnew(t *testing.T) {
	t.Parallel() // it mostly waits
	o := newOutside(t, 2, etcdtest.Config{}).begin(2, overVXLAN)
	n, before := o.nodes[1], o.leases()
	pings := o.keepPinging()
	ends := o.shorten(n)
	o.server.Stop()
	for _, n := range o.nodes {
		n.probes(http.StatusServiceUnavailable, "flanneld is not ready yet\n"+isAway)
	}
	eventually(t, func() error {
		if left := time.Until(ends); left > 0 {
			return fmt.Errorf("the lease lasts for %v more", left)
		}
		return nil
	})
	pings.another()
	check(t, o.server.Forget())
	check(t, o.server.Run())
	for _, n := range o.nodes {
		n.says("the lease was gone and is there again")
		n.says("there is no config at /coreos.com/network/config")
	}
	o.configure(overVXLAN)
	for _, n := range o.nodes {
		n.probes(http.StatusOK, "flanneld is ready")
		n.saidOnce("forwarding goes on", isBack, "the lease was gone", "there is no config")
	}
	pings.another()
	n.signal(syscall.SIGTERM)
	n.start("--datapath=user").ready()
	pings.another()
	check(t, pings.end())
	if after := o.leases(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("leases %v, before %v", after, before)
	}
}

// shorten gives a node's lease two seconds, of which the node knows, and cuts
// the store off before the node gives it a day again. It returns its end.
func (o *outside) shorten(n *node) (ends time.Time) {
	o.t.Helper()
	key := "subnets/" + n.leaseKey()
	eventually(o.t, func() error { // the node looks a second later
		check(o.t, o.server.Mend())
		record, _, _ := o.get(key)
		told := n.said("somebody gave the lease another end")
		ends = time.Now().Add(2 * time.Second)
		o.put(key, record, 2)
		_, revision, _ := o.get(key)
		eventually(o.t, func() error {
			if n.said("somebody gave the lease another end") == told {
				return errors.New("the node does not see that its lease is short")
			}
			return nil
		})
		o.server.Cut()
		if _, now, _ := o.get(key); now != revision {
			return errors.New("the node was faster")
		}
		return nil
	})
	return ends
}

// Of two endpoints either is enough, whichever has gone away.
func TestEndpointGoesAway(t *testing.T) {
	t.Parallel() // it mostly waits
	o := newOutside(t, 2, etcdtest.Config{}).begin(2, overVXLAN)
	pings := o.keepPinging()
	for i, way := range o.ways {
		way.Cut()
		subnet := fmt.Sprintf("172.7.%d.0", 201+i)
		o.put("subnets/"+subnet+"-24", `{"PublicIP":"10.4.7.201","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}`, 0)
		for _, n := range o.nodes {
			eventually(t, func() error { return n.has(subnet + "/24 via " + subnet + " dev flannel.1") })
			n.probes(http.StatusOK, "flanneld is ready")
		}
		check(t, way.Mend())
	}
	pings.another()
	check(t, pings.end())
	for _, n := range o.nodes {
		if out := n.signal(syscall.SIGTERM); out.Status != 0 {
			t.Error(out)
		}
	}
}

// A config that cannot be used is waited out, and one that is broken under
// running nodes changes nothing; both are told once, and need no restart.
func TestConfigRepaired(t *testing.T) {
	t.Parallel() // it mostly waits
	o := newOutside(t, 2, etcdtest.Config{})
	o.put("config", "‘{Network:172.7.0.0/16}’", 0) // as a tutorial's quotes have it
	for _, n := range o.nodes {
		n.start("--datapath=user")
		n.probes(http.StatusServiceUnavailable, "flanneld is not ready yet\nthe config at /coreos.com/network/config cannot be used: ")
		if _, err := os.Stat(n.SubnetFile()); err == nil {
			t.Error("there is a subnet file without a config")
		}
	}
	if out := o.nodes[1].signal(syscall.SIGTERM); out.Status != 0 {
		t.Error("while it waits:", out)
	}
	o.nodes[1].start("--datapath=user").says("cannot be used")
	o.configure(overVXLAN)
	for _, n := range o.nodes {
		n.ready()
		n.saidOnce("cannot be used")
	}
	a, _ := o.nodes[0].container()
	_, addr := o.nodes[1].container()
	eventually(t, func() error { return a.Ping(addr, lab.PingOptions{}).Lost() })
	o.configure("{")
	for _, n := range o.nodes {
		n.says("this node goes on with the config that it was started with")
	}
	check(t, a.Ping(addr, lab.PingOptions{Count: 20}).Lost())
	o.configure(overVXLAN)
	for _, n := range o.nodes {
		n.probes(http.StatusOK, "flanneld is ready")
		n.saidOnce("this node goes on")
	}
}

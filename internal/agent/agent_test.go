package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/embedded"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/netfilter"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/flannel/subnet"
	"github.com/weftnet/weft/internal/lab"
)

const vxlanNet = `{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan"}}`

// A start makes, in this order, what the lease tells of, the lease, the
// addresses, the file and the peers, and tells the service manager.
func TestStart(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	n.put("subnets/10.0.9.0-24", `{"PublicIP":"192.0.2.9","BackendType":"vxlan"}`)
	manager := listenManager(t)
	o := options(t, n, "192.0.2.1")
	o.Masquerade = true
	r := run(t, o).ready()
	leases := n.leases()
	own := leases[slices.IndexFunc(leases, func(l lease.Lease) bool { return l.PublicIP.String() == "192.0.2.1" })]
	text, err := os.ReadFile(o.SubnetFile)
	want := fmt.Sprintf("FLANNEL_NETWORK=10.0.0.0/16\nFLANNEL_SUBNET=%s/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n", own.IPv4.Addr().Next())
	if err != nil || string(text) != want {
		t.Errorf("%s %v, want %s", text, err, want)
	}
	eventually(t, func() error {
		// Run is beside the others from its start.
		calls := slices.DeleteFunc(r.backend.noted(), func(c string) bool { return c == "run" })
		if want := []string{"prepare vxlan", "start " + own.Name, "reset 1"}; !slices.Equal(calls, want) || len(r.backend.noted()) != 4 {
			return fmt.Errorf("%q, want %q and run", r.backend.noted(), want)
		}
		return nil
	})
	if status, body, err := get(o.Health, "/healthz"); status != http.StatusOK || body != "flanneld is running" {
		t.Error(status, body, err)
	}
	if got := manager(); got != "READY=1" {
		t.Error(got)
	}
	r.stop()
	if got := manager(); got != "STOPPING=1" {
		t.Error(got)
	}
	if got := n.leases(); len(got) != 2 {
		t.Error("stopping gave the lease back:", got)
	}
	if _, err := os.Stat(o.SubnetFile); err != nil {
		t.Error(err)
	}
}

// listenManager is a service manager, which returns one state after the other.
func listenManager(t *testing.T) func() string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		buf := make([]byte, 100)
		n, err := conn.Read(buf)
		check(t, err)
		return string(buf[:n])
	}
}

// An agent goes on with what the one before it had, by the lease and, where
// that is gone, by the file.
func TestRestart(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	run(t, o).ready().stop()
	before := n.leases()
	run(t, o).ready().stop()
	after := n.leases()
	if len(after) != 1 || after[0].Name != before[0].Name {
		t.Error(before, after)
	}
	n.del("subnets/" + before[0].Name)
	run(t, o).ready().stop()
	if again := n.leases(); len(again) != 1 || again[0].Name != before[0].Name {
		t.Error(before, again)
	}
}

// The probes answer before there is a config, and a broken one is mended while
// the agent waits.
func TestConfigMended(t *testing.T) {
	n := newNetwork(t)
	r := run(t, options(t, n, "192.0.2.1"))
	r.readyz(http.StatusServiceUnavailable, "flanneld is not ready yet\nthere is no config at "+n.prefix+"/config")
	if status, body, err := get(r.o.Health, "/healthz"); status != http.StatusOK || body != "flanneld is running" {
		t.Error(status, body, err)
	}
	n.put("config", `‘{Network:`)
	r.readyz(http.StatusServiceUnavailable, "cannot be used")
	n.put("config", `{"Network":"10.0.0.0/16","Backend":{"Type":"aws-vpc"}}`)
	r.readyz(http.StatusServiceUnavailable, "use Type extension")
	n.put("config", vxlanNet)
	r.ready()
	if r.said("there is no config") != 1 {
		t.Error("not said once:", r.said("there is no config"))
	}
}

// Later changes of the config are told, and change nothing.
func TestConfigChanges(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	r := run(t, options(t, n, "192.0.2.1")).ready()
	n.put("config", `{"Network":"10.0.0.0/16"`)
	r.says("goes on with the config that it was started with")
	n.put("config", `{"Network":"10.0.0.0/16","Backend":{"Type":"host-gw"}}`)
	r.says("the network config has changed: restart the agent")
	if len(r.made) != 1 || r.said("goes on with the config") != 1 {
		t.Error(len(r.made), r.log.All())
	}
}

// A config that was written to the other interface is pointed out.
func TestOtherAPI(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	o.Registry.API = 2
	r := run(t, o)
	r.readyz(http.StatusServiceUnavailable, "in the v2 API of etcd, but there is one in the v3 API, which --etcd-api=3 reads")
	r.stop()
}

func TestPeersCome(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	n.put("subnets/10.0.9.0-24", `{"PublicIP":"192.0.2.9","BackendType":"vxlan"}`)
	r := run(t, options(t, n, "192.0.2.1")).ready()
	r.peers("10.0.9.0-24 192.0.2.9")
	n.put("subnets/10.0.8.0-24", `{"PublicIP":"192.0.2.8","BackendType":"vxlan"}`)
	n.put("subnets/rubbish", "junk")
	n.put("subnets/10.0.7.0-24", `{"PublicIP":"192.0.2.1"}`) // another subnet under this node's address
	n.put("subnets/10.0.9.0-24", `{"PublicIP":"192.0.2.99","BackendType":"vxlan"}`)
	r.peers("10.0.8.0-24 192.0.2.8, 10.0.9.0-24 192.0.2.99")
	n.put("subnets/10.0.9.0-24", `{"PublicIP":"192.0.2.1"}`)
	r.peers("10.0.8.0-24 192.0.2.8")
	n.put("subnets/10.0.9.0-24", `{"PublicIP":"192.0.2.5"}`)
	r.peers("10.0.8.0-24 192.0.2.8, 10.0.9.0-24 192.0.2.5")
	n.del("subnets/10.0.8.0-24")
	r.peers("10.0.9.0-24 192.0.2.5")
	if got := r.said("a key among the leases is passed over"); got != 1 {
		t.Error("junk is told", got, "times")
	}
}

// Only another node can take the subnet, and that ends the agent.
func TestSubnetLost(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	r := run(t, options(t, n, "192.0.2.1")).ready()
	name := n.leases()[0].Name
	n.del("subnets/" + name)
	r.says("the lease was gone and is there again")
	n.put("subnets/"+name, `{"PublicIP":"192.0.2.2"}`)
	var lost *subnet.Lost
	if err := r.wait(); !errors.As(err, &lost) || lost.Other.PublicIP.String() != "192.0.2.2" {
		t.Error(err)
	}
	r.says("the subnet is lost; started again, the agent leases another")
}

// A file that cannot be written keeps the node from being ready, and no more.
func TestFileNotWritten(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	dir := filepath.Dir(o.SubnetFile)
	check(t, os.WriteFile(dir, nil, 0o600))
	r := run(t, o)
	r.readyz(http.StatusServiceUnavailable, "write the subnet file: ")
	r.says("ready")
	check(t, os.Remove(dir))
	r.ready()
}

// Nor is it ready without the rules that its containers need, until they are
// there.
func TestRulesMissing(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	filter, refused := &noFilter{}, errors.New("not permitted")
	filter.err.Store(&refused)
	o.filter, o.Resync = filter, time.Millisecond
	r := run(t, o)
	r.readyz(http.StatusServiceUnavailable, "packet filter: not permitted")
	filter.err.Store(nil)
	r.ready()
	if got := r.said("packet filter: something is missing"); got != 1 {
		t.Error("said", got, "times")
	}
}

func TestFull(t *testing.T) {
	n := newNetwork(t)
	n.put("config", `{"Network":"10.0.0.0/22","SubnetMin":"10.0.1.0","SubnetMax":"10.0.1.0"}`)
	n.put("subnets/10.0.1.0-24", `{"PublicIP":"192.0.2.2"}`)
	if err := run(t, options(t, n, "192.0.2.1")).wait(); !errors.Is(err, subnet.ErrFull) {
		t.Error(err)
	}
}

// The second of two agents for one file says who the first is.
func TestAlone(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	run(t, o).ready()
	err := run(t, o).wait()
	if !errors.Is(err, errRuns) || !strings.Contains(err.Error(), fmt.Sprintf("process %d:", os.Getpid())) {
		t.Error(err)
	}
	if err := Cleanup(t.Context(), withLog(o)); !errors.Is(err, errRuns) {
		t.Error("cleaned up under a running agent:", err)
	}
}

// What the former config needed is taken back when another kind of network is
// joined.
func TestReplace(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	run(t, o).ready().stop()
	n.put("config", `{"Network":"10.0.0.0/16","Backend":{"Type":"VXLAN","DirectRouting":true}}`)
	r := run(t, o).ready()
	r.stop()
	if len(r.made) != 1 {
		t.Error("a device that is kept was taken back")
	}
	n.put("config", `{"Network":"10.0.0.0/16","Backend":{"Type":"host-gw"}}`)
	r = run(t, o).ready()
	r.stop()
	if len(r.made) != 2 || !slices.Equal(r.made[1].noted(), []string{"cleanup vxlan"}) || r.made[0].kind != "host-gw" {
		t.Errorf("%+v", r.made)
	}
	n.put("config", `{"Network":"10.9.0.0/16","Backend":{"Type":"host-gw"}}`)
	r = run(t, o).ready()
	r.stop()
	if len(r.made) != 2 || !slices.Equal(r.made[1].noted(), []string{"cleanup host-gw"}) {
		t.Errorf("of another network: %+v", r.made)
	}
}

const hostGWNet = `{"Network":"10.0.0.0/16","Backend":{"Type":"host-gw"}}`

// What could not be taken back is tried again by the next agent, and by the
// clean-up, until a config has use for it again.
func TestReplaceFails(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	run(t, o).ready().stop()
	n.put("config", hostGWNet)
	for range 2 {
		r := runFailing(t, o, "cleanup vxlan").ready()
		r.says("something of the former config is left")
		r.stop()
	}
	var r recorder
	failing := withLog(o)
	failing.backends = func(_ backend.Node, cfg *netconf.Config) (backend.Backend, error) {
		r.kind, r.fails = cfg.Backend.Type(), "cleanup vxlan"
		return &r, nil
	}
	if err := Cleanup(t.Context(), failing); !errors.Is(err, errRefused) {
		t.Error("the clean-up knows nothing of it:", err)
	}
	m, err := openMemory(o.RunDir, o.SubnetFile)
	check(t, err)
	if m.Rules != (netfilter.Rules{}) || m.Type != "host-gw" {
		t.Errorf("what is left has rules, which others would write again: %+v", m.held)
	}
	check(t, m.file.Close())
	r.calls = nil
	failing.backends = func(_ backend.Node, cfg *netconf.Config) (backend.Backend, error) {
		r.kind, r.fails = cfg.Backend.Type(), ""
		return &r, nil
	}
	check(t, Cleanup(t.Context(), failing))
	if want := []string{"cleanup host-gw", "cleanup vxlan"}; !slices.Equal(r.noted(), want) {
		t.Errorf("%q, want %q", r.noted(), want)
	}
}

// TestGoneNamespace has notes of a namespace that had this one's inode. What they tell
// of is gone: nothing is taken back for them, which is said. By notes that do not say
// what namespace they are of, as those of an older version, an agent goes.
func TestGoneNamespace(t *testing.T) {
	lab.NeedLinux(t, 5, 14, "the cookie of a network namespace")
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	run(t, o).ready().stop()
	is := func(config string, change func(*memory), cleanups ...string) {
		t.Helper()
		m, err := openMemory(o.RunDir, o.SubnetFile)
		check(t, err)
		change(m)
		check(t, m.save())
		check(t, m.file.Close())
		n.put("config", config)
		r := run(t, o).ready()
		r.stop()
		var got []string
		for _, b := range r.made[1:] {
			got = append(got, b.noted()...)
		}
		said := r.said("of a network namespace that is gone")
		if !slices.Equal(got, cleanups) || (said == 1) != (len(cleanups) == 0) {
			t.Errorf("%s: %q, want %q; said %d times", config, got, cleanups, said)
		}
	}
	is(hostGWNet, func(m *memory) { m.Cookie++ })
	is(vxlanNet, func(*memory) {}, "cleanup host-gw")
	is(hostGWNet, func(m *memory) { m.Cookie = 0 }, "cleanup vxlan")
}

// A config that this node cannot use costs it nothing: what the former one made
// stays, is taken over if that one comes back, and back once another can be
// used.
func TestReplaceUnusable(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	run(t, o).ready().stop()
	cleanups := func(when string, r *running, want ...string) {
		t.Helper()
		var got []string
		for _, b := range r.made[1:] {
			got = append(got, b.noted()...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	unusable := func() {
		t.Helper()
		n.put("config", hostGWNet)
		r := runFailing(t, o, "prepare host-gw")
		if err := r.wait(); !errors.Is(err, errRefused) {
			t.Error(err)
		}
		cleanups("unusable", r)
	}
	unusable()
	n.put("config", vxlanNet)
	r := run(t, o).ready()
	r.stop()
	cleanups("again", r, "cleanup host-gw")
	unusable()
	r = run(t, o).ready()
	r.stop()
	cleanups("usable", r, "cleanup vxlan")
}

// A node with a new subnet has a blackhole for that alone: the former one is
// another node's.
func TestHoleMoves(t *testing.T) {
	n := newNetwork(t)
	n.put("config", `{"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"alloc"}}`)
	o := options(t, n, "192.0.2.1")
	o.Interface.Public6, o.Blackhole = addr("2001:db8::1"), true
	run(t, o).ready().stop()
	t.Cleanup(func() { check(t, Cleanup(context.Background(), withLog(o))) })
	before := n.leases()[0]
	wantHoles(t, before.Subnet)
	n.del("subnets/" + before.Name)
	n.put("subnets/"+before.Name, `{"PublicIP":"192.0.2.2"}`)
	run(t, o).ready().stop()
	for _, l := range n.leases() {
		if l.PublicIP == o.Interface.Public {
			wantHoles(t, l.Subnet)
		}
	}
}

// wantHoles wants blackhole routes for a subnet, and no others.
func wantHoles(t *testing.T, s lease.Subnet) {
	t.Helper()
	var have []string
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Type: unix.RTN_BLACKHOLE}, netlink.RT_FILTER_TYPE)
		check(t, err)
		for _, r := range routes {
			have = append(have, r.Dst.String())
		}
	}
	if want := []string{s.IPv4.Masked().String(), s.IPv6.Masked().String()}; !slices.Equal(have, want) {
		t.Errorf("blackholes %v, want %v", have, want)
	}
}

// A damaged memory is none.
func TestDamagedMemory(t *testing.T) {
	n := newNetwork(t)
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	path, _, err := memoryPath(o.RunDir, o.SubnetFile)
	check(t, err)
	_, err = o.RunDir.Create()
	check(t, err)
	check(t, os.WriteFile(path, []byte(`{"PID":17,"Type":"vxlan"`), 0o600))
	run(t, o).ready().stop()
	var h held
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &h) != nil || h.Type != "vxlan" || h.Lease.Name == "" {
		t.Error(string(text), err)
	}
}

// Nobody has noted the lease of a node that flanneld served: subnet.env tells it. That
// of another node, which has the subnet by now, is not this one's to give back.
func TestCleanupAfterFlanneld(t *testing.T) {
	for _, c := range []struct {
		cleansUp string
		left     int
	}{{"192.0.2.1", 0}, {"192.0.2.9", 1}} {
		n := newNetwork(t)
		n.put("config", vxlanNet)
		o := options(t, n, "192.0.2.1")
		r := run(t, o).ready()
		r.stop()
		path, _, err := memoryPath(o.RunDir, o.SubnetFile)
		check(t, err)
		check(t, os.Remove(path))
		o = withLog(o)
		o.backends, o.Interface.Public = r.o.backends, addr(c.cleansUp)
		away := o
		away.Registry.Endpoints = []string{fmt.Sprintf("http://127.0.0.1:%d", freePort(t))}
		if err := Cleanup(t.Context(), away); err == nil {
			t.Error("cleaned up without a store")
		}
		check(t, Cleanup(t.Context(), o)) // the file is gone by now
		if leases := n.leases(); len(leases) != c.left {
			t.Errorf("cleaned up as %s: %v, want %d", c.cleansUp, leases, c.left)
		}
	}
}

func TestEmbedded(t *testing.T) {
	n := newNetwork(t) // whose server is not used
	o := options(t, n, "192.0.2.1")
	url := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	o.Embedded = embedded.Options{URL: url, Dir: filepath.Join(filepath.Dir(string(o.RunDir)), "etcd")}
	o.Registry.Endpoints = []string{url}
	r := run(t, o)
	r.readyz(http.StatusServiceUnavailable, "there is no config")
	here := networkAt(t, url, n.prefix)
	here.put("config", vxlanNet)
	r.ready()
	name := here.leases()[0].Name
	r.stop()
	r = run(t, o).ready()
	if again := here.leases(); len(again) != 1 || again[0].Name != name {
		t.Error(name, again)
	}
	r.stop()
	if r.said("the store in this process has ended") > 0 {
		t.Error("that it was ended is said to be an error")
	}
	o = withLog(o)
	o.backends = r.o.backends
	check(t, Cleanup(t.Context(), o))
	run(t, o).ready()
	if again := here.leases(); len(again) != 1 {
		t.Error(again)
	}
}

func TestProbesPortTaken(t *testing.T) {
	n := newNetwork(t)
	o := options(t, n, "192.0.2.1")
	l, err := net.Listen("tcp", o.Health.String())
	check(t, err)
	defer l.Close()
	if err := run(t, o).wait(); err == nil || !strings.Contains(err.Error(), "--healthz-ip, --healthz-port: ") {
		t.Error(err)
	}
}

// A key of the config that nothing reads is said, with the one that may be meant.
func TestUnexpectedKey(t *testing.T) {
	n := newNetwork(t)
	n.put("config", `{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan","DirectRoutin":true}}`)
	run(t, options(t, n, "192.0.2.1")).ready().says("DirectRouting")
}

// Many nodes that start at one instant get subnets of their own.
func TestAtOneInstant(t *testing.T) {
	const nodes, times = 20, 3
	for range times {
		n := newNetwork(t)
		all := make([]Options, nodes)
		for i := range all {
			all[i] = options(t, n, fmt.Sprintf("192.0.2.%d", i+1))
		}
		running := make([]*running, nodes)
		for i, o := range all {
			running[i] = run(t, o)
		}
		for _, r := range running {
			r.says("there is no config") // and waits for one
		}
		n.put("config", `{"Network":"10.0.0.0/18","Backend":{"Type":"vxlan"}}`)
		for _, r := range running {
			r.ready()
		}
		leases := n.leases()
		seen := map[string]bool{}
		for _, l := range leases {
			seen[l.IPv4.String()] = true
		}
		if len(leases) != nodes || len(seen) != nodes {
			t.Fatalf("%d leases, %d subnets, of %d nodes", len(leases), len(seen), nodes)
		}
		for _, r := range running {
			eventually(t, func() error {
				if got := strings.Count(r.backend.table(), ", ") + 1; got != nodes-1 {
					return fmt.Errorf("%d peers", got)
				}
				return nil
			})
			r.stop()
		}
	}
}

func TestOfOthers(t *testing.T) {
	own := lease.Lease{Name: "10.0.1.0-24", Record: lease.Record{PublicIP: addr("192.0.2.1")}}
	other := lease.Lease{Name: "10.0.2.0-24", Record: lease.Record{PublicIP: addr("192.0.2.2")}}
	moved := lease.Lease{Name: "10.0.2.0-24", Record: lease.Record{PublicIP: addr("192.0.2.1")}}
	n := &node{lease: own}
	for _, c := range []struct {
		event registry.Event
		want  string
	}{
		{registry.Event{Kind: registry.Added, Lease: own}, "[]"},
		{registry.Event{Kind: registry.Removed, Lease: own}, "[]"},
		{registry.Event{Kind: registry.Changed, Lease: own, Old: own}, "[]"},
		{registry.Event{Kind: registry.Added, Lease: moved}, "[]"},
		{registry.Event{Kind: registry.Added, Lease: other}, "[0 192.0.2.2]"},
		{registry.Event{Kind: registry.Removed, Lease: other}, "[2 192.0.2.2]"},
		{registry.Event{Kind: registry.Changed, Lease: other, Old: other}, "[1 192.0.2.2]"},
		{registry.Event{Kind: registry.Changed, Lease: moved, Old: other}, "[2 192.0.2.2]"},
		{registry.Event{Kind: registry.Changed, Lease: other, Old: moved}, "[0 192.0.2.2]"},
	} {
		var got []string
		for _, e := range n.ofOthers([]registry.Event{c.event}) {
			got = append(got, fmt.Sprint(int(e.Kind), " ", e.Lease.PublicIP))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%+v: %v, want %s", c.event, got, c.want)
		}
	}
}

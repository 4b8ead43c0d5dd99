package nodes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/cli"
	"github.com/weftnet/weft/internal/flannel/subnetenv"
	"github.com/weftnet/weft/internal/flannelnode"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// soon is long enough for anything that is not stuck.
const soon = 30 * time.Second

func TestMain(m *testing.M) {
	vtep.ActAsWeft(cli.Main)
	lab.Main(m)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, cond func() error) {
	t.Helper()
	check(t, lab.Eventually(soon, cond))
}

// network is some nodes on one wire, 10.4.7.0/24. The first of them runs the
// store unless it is elsewhere.
type network struct {
	t         testing.TB
	wire      *lab.Switch
	nodes     []*node
	store     string // URL
	http      *http.Client
	post      func(path string, body []byte) ([]byte, error) // asks etcd's JSON gateway
	elsewhere string                                         // URLs of a store beside the nodes, "" for none
}

// node is one with a place in the network.
type node struct {
	*flannelnode.Node
	t    testing.TB
	net  *network
	addr netip.Addr
}

// newNetwork makes nodes h1 (10.4.7.21), h2 (10.4.7.22) and so on.
func newNetwork(t testing.TB, nodes int) *network {
	t.Helper()
	w := &network{t: t, wire: newSwitch(t)}
	w.addNodes(nodes)
	w.storeOnFirst()
	return w
}

// storeOnFirst has the first node's agent run the store.
func (w *network) storeOnFirst() {
	first := w.nodes[0]
	w.store = "http://" + first.addr.String() + ":2379"
	w.http = first.HTTP()
	w.post = func(path string, body []byte) ([]byte, error) { return first.Post(w.store, path, body) }
}

func newSwitch(t testing.TB) *lab.Switch {
	t.Helper()
	lab.NeedBridge(t)
	wire, err := lab.NewSwitch()
	check(t, err)
	t.Cleanup(func() { _ = wire.Close() })
	return wire
}

func (w *network) addNodes(count int) {
	w.t.Helper()
	for i := range count {
		w.nodes = append(w.nodes, newNode(w.t, w, w.wire, fmt.Sprintf("h%d", i+1), nodeAddr(i)))
	}
}

// nodeAddr is the address of one of the nodes.
func nodeAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 4, 7, byte(21 + i)}) }

func newNode(t testing.TB, w *network, wire *lab.Switch, name string, addr netip.Addr) *node {
	t.Helper()
	n := newLoneNode(t, w, name, addr)
	check(t, wire.Plug(lab.Port{Host: n.Host, Addrs: []netip.Prefix{netip.PrefixFrom(n.addr, 24)}}))
	return n
}

// newLoneNode makes a node that has no interface yet.
func newLoneNode(t testing.TB, w *network, name string, addr netip.Addr) *node {
	t.Helper()
	own, err := flannelnode.New(lab.TestHost(t, name))
	check(t, err)
	t.Cleanup(func() { _ = own.End() })
	return &node{Node: own, t: t, net: w, addr: addr}
}

// storeFlag says where the node's store is.
func (n *node) storeFlag() string {
	if n.net.elsewhere != "" {
		return "--etcd-endpoints=" + n.net.elsewhere
	}
	if n == n.net.nodes[0] {
		return "--embedded-etcd=" + n.net.store
	}
	return "--etcd-endpoints=" + n.net.store
}

// flags are those of seed 002's script, and more.
func (n *node) flags(more ...string) []string { return n.Flags(append(more, n.storeFlag())...) }

// start starts an agent and does not wait.
func (n *node) start(more ...string) *node {
	n.t.Helper()
	check(n.t, n.Start(append(more, n.storeFlag())...))
	return n
}

// ready waits until the agent says that it is.
func (n *node) ready() *node {
	n.t.Helper()
	check(n.t, n.Ready())
	return n
}

// signal ends the agent, and returns what it left.
func (n *node) signal(s os.Signal) lab.Output {
	n.t.Helper()
	check(n.t, n.Agent.Signal(s))
	out, err := n.Agent.Wait(soon)
	check(n.t, err)
	return out
}

// run runs weft to its end.
func (n *node) run(words ...string) lab.Output {
	n.t.Helper()
	out, err := n.Weft.Run(words...)
	check(n.t, err)
	return out
}

// file is what the agent told the container runtime.
func (n *node) file() subnetenv.File {
	n.t.Helper()
	f, err := n.File()
	check(n.t, err)
	return f
}

// leaseKey is the key of the node's lease, below that of the leases.
func (n *node) leaseKey() string {
	n.t.Helper()
	return strings.ReplaceAll(n.file().Subnet.Masked().String(), "/", "-")
}

// container starts one as docker would.
func (n *node) container() (*lab.Host, netip.Addr) {
	n.t.Helper()
	c := lab.TestHost(n.t, "c-"+n.Name)
	own, err := n.Attach(c)
	check(n.t, err)
	return c, own
}

// containerAt starts one that has an address of the node's subnet.
func (n *node) containerAt(own netip.Addr) *lab.Host {
	n.t.Helper()
	c := lab.TestHost(n.t, "c-"+n.Name)
	check(n.t, n.AttachAt(c, own))
	return c
}

// routes are those of the main table, much as `ip route` writes them.
func (n *node) routes() string {
	n.t.Helper()
	routes, err := n.Netlink().RouteList(nil, netlink.FAMILY_V4)
	check(n.t, err)
	var b strings.Builder
	for _, r := range routes {
		name := "-"
		if l, err := n.Netlink().LinkByIndex(r.LinkIndex); err == nil {
			name = l.Attrs().Name
		}
		fmt.Fprintf(&b, "%v via %v dev %s type %d", r.Dst, r.Gw, name, r.Type)
		if r.Flags&int(netlink.FLAG_ONLINK) != 0 {
			b.WriteString(" onlink")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (n *node) has(route string) error {
	if routes := n.routes(); !strings.Contains(routes, route) {
		return fmt.Errorf("%s has no route %q:\n%s", n.Name, route, routes)
	}
	return nil
}

// call asks etcd's JSON gateway, as curl would.
func (w *network) call(path string, body map[string]string) ([]byte, error) {
	for k, v := range body {
		body[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return w.post("kv/"+path, text)
}

const prefix = flannelnode.Prefix

// configure writes the config, once etcd is there.
func (w *network) configure(text string) {
	w.t.Helper()
	check(w.t, w.nodes[0].Configure(w.store, text))
}

// leases are the subnets with their records.
func (w *network) leases() map[string]string {
	w.t.Helper()
	text, err := w.call("range", map[string]string{"key": prefix + "subnets/", "range_end": prefix + "subnets0"})
	check(w.t, err)
	var answer struct {
		KVs []struct{ Key, Value []byte }
	}
	check(w.t, json.Unmarshal(text, &answer))
	all := map[string]string{}
	for _, kv := range answer.KVs {
		all[strings.TrimPrefix(string(kv.Key), prefix+"subnets/")] = string(kv.Value)
	}
	return all
}

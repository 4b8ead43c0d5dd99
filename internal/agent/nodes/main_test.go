package nodes

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/cli"
	"github.com/weftnet/weft/internal/flannel/subnetenv"
	"github.com/weftnet/weft/internal/lab"
)

// actAsWeft makes the test binary be weft: for the agents that tests run, and
// for the daemons that these start, which inherit the environment.
const actAsWeft = "WEFT_NODES_ACT_AS_WEFT"

// soon is long enough for anything that is not stuck.
const soon = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(actAsWeft) != "" {
		os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
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

// network is some nodes on one wire, 10.4.7.0/24, of which the first runs the
// store.
type network struct {
	t     testing.TB
	nodes []*node
	store string // URL
	http  *http.Client
}

// node is a host with a run directory of its own, as a machine has.
type node struct {
	*lab.Host
	t     testing.TB
	net   *network
	dir   string
	addr  netip.Addr
	agent *lab.Process
}

const healthPort = 2401

// newNetwork makes nodes h1 (10.4.7.21), h2 (10.4.7.22) and so on.
func newNetwork(t testing.TB, nodes int) *network {
	t.Helper()
	lab.NeedBridge(t)
	w := &network{t: t}
	wire, err := lab.NewSwitch()
	check(t, err)
	t.Cleanup(func() { _ = wire.Close() })
	for i := range nodes {
		w.nodes = append(w.nodes, newNode(t, w, wire, i))
	}
	first := w.nodes[0]
	w.store = "http://" + first.addr.String() + ":2379"
	w.http = &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true, DialContext: first.dial}}
	return w
}

func newNode(t testing.TB, w *network, wire *lab.Switch, i int) *node {
	t.Helper()
	n := &node{Host: lab.TestHost(t, fmt.Sprintf("h%d", i+1)), t: t, net: w, addr: netip.AddrFrom4([4]byte{10, 4, 7, byte(21 + i)})}
	check(t, wire.Plug(lab.Port{Host: n.Host, Addrs: []netip.Prefix{netip.PrefixFrom(n.addr, 24)}}))
	check(t, n.Sysctl("net.ipv4.ip_forward", "1"))
	var err error
	n.dir, err = os.MkdirTemp(lab.RunDir(), "node")
	check(t, err)
	t.Cleanup(n.end)
	return n
}

// dial connects from the node.
func (n *node) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	_ = n.Do(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return nil
	})
	return conn, err
}

func (n *node) env() []string {
	return []string{actAsWeft + "=1", "WEFT_RUN_DIR=" + filepath.Join(n.dir, "weft"), "GORACE=atexit_sleep_ms=0"}
}

func (n *node) subnetFile() string { return filepath.Join(n.dir, "subnet.env") }

// flags are those of seed 002's script, and more.
func (n *node) flags(more ...string) []string {
	flags := append([]string{"-iface=eth0", "--subnet-file=" + n.subnetFile(), fmt.Sprintf("--healthz-port=%d", healthPort)}, more...)
	if n == n.net.nodes[0] {
		return append(flags, "--embedded-etcd="+n.net.store)
	}
	return append(flags, "--etcd-endpoints="+n.net.store)
}

// start starts an agent and does not wait.
func (n *node) start(more ...string) *node {
	n.t.Helper()
	var err error
	n.agent, err = n.Spawn(n.env(), "/proc/self/exe", append([]string{"agent"}, n.flags(more...)...)...)
	check(n.t, err)
	return n
}

// ready waits until the agent says that it is.
func (n *node) ready() *node {
	n.t.Helper()
	eventually(n.t, func() error {
		select {
		case <-n.agent.Ended():
			n.t.Fatalf("%s: the agent ended: %s", n.Name, n.agent.Stderr())
		default:
		}
		status, body := n.probe("/readyz")
		if status != http.StatusOK {
			return fmt.Errorf("%s: %d %s\n%s", n.Name, status, body, n.agent.Stderr())
		}
		return nil
	})
	return n
}

func (n *node) probe(path string) (int, string) {
	client := http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true, DialContext: n.dial}}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", healthPort, path))
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// signal ends the agent, and returns what it left.
func (n *node) signal(s os.Signal) lab.Output {
	n.t.Helper()
	check(n.t, n.agent.Signal(s))
	out, err := n.agent.Wait(soon)
	check(n.t, err)
	return out
}

// run runs weft to its end.
func (n *node) run(words ...string) lab.Output {
	n.t.Helper()
	out, err := n.Run(n.env(), "/proc/self/exe", words...)
	check(n.t, err)
	return out
}

// end ends the agent, which would make again what is deleted, and the daemon
// that agents have started, with its links.
func (n *node) end() {
	if n.agent != nil {
		_ = n.agent.Signal(os.Kill)
		_, _ = n.agent.Wait(soon)
	}
	links, _ := n.Netlink().LinkList()
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, "flannel") {
			_ = n.Netlink().LinkDel(l)
		}
	}
	_ = lab.Eventually(soon, func() error {
		if socks, _ := filepath.Glob(filepath.Join(n.dir, "weft", "*.sock")); len(socks) > 0 {
			return fmt.Errorf("%s: %v is still there", n.Name, socks)
		}
		return nil
	})
	_ = os.RemoveAll(n.dir)
}

// file is what the agent told the container runtime.
func (n *node) file() subnetenv.File {
	n.t.Helper()
	f, err := subnetenv.Read(n.subnetFile())
	check(n.t, err)
	return f
}

// leaseKey is the key of the node's lease, below that of the leases.
func (n *node) leaseKey() string {
	n.t.Helper()
	return strings.ReplaceAll(n.file().Subnet.Masked().String(), "/", "-")
}

// container starts one as docker would: behind a bridge with the first address
// of the subnet.
func (n *node) container() (*lab.Host, netip.Addr) {
	n.t.Helper()
	f := n.file()
	gateway := f.Subnet.Addr().Next()
	if _, err := n.Device("docker0"); err != nil {
		check(n.t, n.AddBridge("docker0"))
		check(n.t, n.AddAddr("docker0", netip.PrefixFrom(gateway, f.Subnet.Bits())))
	}
	c := lab.TestHost(n.t, "c-"+n.Name)
	own := gateway.Next()
	check(n.t, lab.Connect(lab.Port{Host: n.Host, Dev: "veth0", MTU: f.MTU}, lab.Port{Host: c, MTU: f.MTU, Addrs: []netip.Prefix{netip.PrefixFrom(own, f.Subnet.Bits())}}))
	check(n.t, n.SetMaster("docker0", "veth0"))
	l, err := c.Netlink().LinkByName("eth0")
	check(n.t, err)
	check(n.t, c.Netlink().RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: gateway.AsSlice()}))
	return c, own
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
	resp, err := w.http.Post(w.store+"/v3/kv/"+path, "application/json", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("etcd: %d %s", resp.StatusCode, answer)
	}
	return answer, err
}

const prefix = "/coreos.com/network/"

// configure writes the config, once etcd is there.
func (w *network) configure(text string) {
	w.t.Helper()
	eventually(w.t, func() error {
		_, err := w.call("put", map[string]string{"key": prefix + "config", "value": text})
		return err
	})
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

package nodes

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannelnode"
	"github.com/weftnet/weft/internal/lab"
)

const hostGW = `{"Network":"172.7.0.0/16","Backend":{"Type":"host-gw"}}`

// pair is two nodes of a network, with a container behind each.
func pair(t *testing.T, more ...string) *network {
	t.Helper()
	w := newNetwork(t, 2)
	w.nodes[0].start(more...)
	w.configure(hostGW)
	w.nodes[1].start(more...)
	for _, n := range w.nodes {
		n.ready()
	}
	return w
}

// pings has the containers of two nodes reach each other. It returns what the
// first pings.
func pings(t *testing.T, w *network) (from *lab.Host, to netip.Addr) {
	t.Helper()
	a, addrA := w.nodes[0].container()
	b, addrB := w.nodes[1].container()
	eventually(t, func() error {
		return errors.Join(a.Ping(addrB, lab.PingOptions{}).Lost(), b.Ping(addrA, lab.PingOptions{}).Lost())
	})
	if err := a.Ping(addrB, lab.PingOptions{Count: 20}).Lost(); err != nil {
		t.Error(err)
	}
	return a, addrB
}

func TestHostGW(t *testing.T) {
	t.Parallel()
	w := pair(t)
	for i, n := range w.nodes {
		peer := w.nodes[1-i]
		eventually(t, func() error { return n.has(fmt.Sprintf("%v via %v dev eth0", peer.file().Subnet, peer.addr)) })
	}
	pings(t, w)
}

// Whichever signal ends an agent, it does so without an error and leaves all
// there is; the next one goes on with it.
func TestSignals(t *testing.T) {
	t.Parallel()
	w := pair(t)
	n, peer := w.nodes[1], w.nodes[0]
	subnet, route := n.file().Subnet, fmt.Sprintf("%v via %v dev eth0", peer.file().Subnet, peer.addr)
	eventually(t, func() error { return n.has(route) })
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		out := n.signal(s)
		if out.Status != 0 || strings.Contains(out.Stderr, "goroutine ") || !strings.Contains(out.Stderr, "stopped: devices, routes, rules and the lease stay") {
			t.Errorf("%v: status %d, %s", s, out.Status, out.Stderr)
		}
		check(t, n.has(route))
		if len(w.leases()) != 2 {
			t.Error(w.leases())
		}
		if got := n.start().ready().file().Subnet; got != subnet {
			t.Error(s, got, subnet)
		}
	}
	if out := n.signal(syscall.SIGKILL); out.Status == 0 {
		t.Error(out)
	}
	check(t, n.has(route))
	if got := n.start().ready().file().Subnet; got != subnet {
		t.Error("after a kill", got, subnet)
	}
}

// Whom one signal does not end, since something hangs, a second one does at once, as
// it does flanneld. What was made stays then, too, and serves on.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	lab.NeedTUN(t)
	w := newNetwork(t, 2)
	w.nodes[0].start("--datapath=user")
	w.configure(overVXLAN)
	w.nodes[1].start("--datapath=user")
	for _, n := range w.nodes {
		n.ready()
	}
	from, to := pings(t, w)
	n, peer := w.nodes[1], w.nodes[0]
	n.signal(syscall.SIGTERM)
	before, err := n.Device("flannel.1")
	check(t, err)
	own := n.Weft.Env
	for second, status := range map[syscall.Signal]int{syscall.SIGTERM: 128 + 15, syscall.SIGINT: 128 + 2, syscall.SIGQUIT: 2} {
		n.Weft.Env = append(slices.Clone(own), "NOTIFY_SOCKET="+n.deafManager())
		n.start("--datapath=user").ready()
		check(t, n.Agent.Signal(syscall.SIGTERM))
		eventually(t, func() error {
			_ = n.Agent.Signal(second)
			select {
			case <-n.Agent.Ended():
				return nil
			default:
				return fmt.Errorf("the agent goes on after SIGTERM and %v", second)
			}
		})
		if out, err := n.Agent.Wait(soon); err != nil || out.Status != status {
			t.Errorf("%v: status %d, want %d; %v\n%s", second, out.Status, status, err, out.Stderr)
		}
		check(t, n.has(fmt.Sprintf("%v via %v dev flannel.1 type 1 onlink", peer.file().Subnet.Masked(), peer.file().Subnet.Masked().Addr())))
		if err := from.Ping(to, lab.PingOptions{Count: 20}).Lost(); err != nil {
			t.Error(err)
		}
	}
	n.Weft.Env = own
	n.start("--datapath=user").ready()
	if now, err := n.Device("flannel.1"); err != nil || now.Index != before.Index || now.MAC.String() != before.MAC.String() {
		t.Errorf("%+v, was %+v; %v", now, before, err)
	}
}

// deafManager returns the socket of a service manager that hears nothing any more: who
// tells it something waits.
func (n *node) deafManager() string {
	n.t.Helper()
	path := filepath.Join(n.Dir, "notify")
	_ = os.Remove(path)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	check(n.t, err)
	n.t.Cleanup(func() { manager.Close() })
	for err == nil {
		err = tell(path)
	}
	if !errors.Is(err, unix.EAGAIN) {
		n.t.Fatal(err)
	}
	return path
}

// tell sends a service manager something, from a socket of its own, since each may
// have but so much on its way.
func tell(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Sendto(fd, []byte("STATUS=x"), unix.MSG_DONTWAIT, &unix.SockaddrUnix{Name: path})
}

func TestCleanup(t *testing.T) {
	t.Parallel()
	w := pair(t, "--ip-blackhole-route", "--iptables-resync=1")
	n, peer := w.nodes[1], w.nodes[0]
	own := n.file().Subnet
	eventually(t, func() error { return n.has(peer.file().Subnet.String()) })
	check(t, n.has(fmt.Sprintf("%v via <nil> dev - type 6", own)))
	// The bridge of the containers comes after the blackhole, and is found first.
	pings(t, w)

	cleanup := append([]string{"agent", "--cleanup"}, n.flags()...)
	if out := n.run(cleanup...); out.Status != 1 || !strings.HasPrefix(out.Stderr, "weft: ") || !strings.Contains(out.Stderr, "runs already") {
		t.Error("under a running agent:", out)
	}
	n.signal(syscall.SIGTERM)
	if out := n.run(cleanup...); out.Status != 0 {
		t.Fatal(out)
	}
	for _, gone := range []string{peer.file().Subnet.String(), "type 6"} {
		if n.has(gone) == nil {
			t.Errorf("%s is left: %s", gone, n.routes())
		}
	}
	if _, err := os.Stat(n.SubnetFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if leases := w.leases(); len(leases) != 1 {
		t.Error(leases)
	}
	eventually(t, func() error {
		if peer.has(own.String()+" via "+n.addr.String()) == nil {
			return errors.New("the peer has its route still")
		}
		return nil
	})
	if out := n.run(cleanup...); out.Status != 0 {
		t.Error("a second time:", out)
	}
}

// Nothing of the node's traffic needs the agents or the store.
func TestTrafficWithoutAgents(t *testing.T) {
	t.Parallel()
	w := pair(t)
	from, to := pings(t, w)
	for _, n := range w.nodes {
		n.signal(syscall.SIGKILL)
	}
	if err := from.Ping(to, lab.PingOptions{Count: 20}).Lost(); err != nil {
		t.Error(err)
	}
}

// Under flanneld's name, with what seed 003's file in /etc/sysconfig sets.
func TestAsFlanneld(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	w.nodes[0].start()
	w.configure(hostGW)
	n := w.nodes[1]
	n.startFlanneld([]string{"FLANNELD_ETCD_ENDPOINTS=" + w.store, "FLANNELD_ETCD_PREFIX=/coreos.com/network", "FLANNELD_IFACE=eth0",
		"FLANNELD_SUBNET_FILE=" + n.SubnetFile(), fmt.Sprint("FLANNELD_HEALTHZ_PORT=", flannelnode.HealthPort)}).ready()
	if status, body := n.Probe("/healthz"); status != http.StatusOK || body != "flanneld is running" {
		t.Error(status, body)
	}
	if _, leased := w.leases()[strings.ReplaceAll(n.file().Subnet.String(), "/", "-")]; !leased {
		t.Error(w.leases())
	}
}

// startFlanneld starts an agent under flanneld's name and does not wait.
func (n *node) startFlanneld(env []string, words ...string) *node {
	n.t.Helper()
	weft, more := n.Weft.Line()
	weft, err := filepath.EvalSymlinks(weft) // of /proc/self/exe
	check(n.t, err)
	program := filepath.Join(n.Dir, "flanneld")
	check(n.t, os.Symlink(weft, program))
	n.Agent, err = n.Spawn(append(more, env...), program, words...)
	check(n.t, err)
	return n
}

// The unit of CentOS' package fills in what its file in /etc/sysconfig sets. What that
// sets stands in flanneld's environment as well, and is nothing to it.
func TestAsFlanneldOfPackage(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	w.nodes[0].start("--etcd-api=2", "--etcd-prefix=/atomic.io/network")
	n := w.nodes[1]
	sysconfig := map[string]string{
		"FLANNEL_ETCD_ENDPOINTS": w.store,
		"FLANNEL_ETCD_PREFIX":    "/atomic.io/network",
		"FLANNEL_OPTIONS":        "-etcd-api=2 -iface=eth0 -subnet-file=" + n.SubnetFile() + fmt.Sprint(" -healthz-port=", flannelnode.HealthPort),
	}
	var env, words []string
	for name, value := range sysconfig {
		env = append(env, name+"="+value)
	}
	for _, word := range strings.Fields("-etcd-endpoints=${FLANNEL_ETCD_ENDPOINTS} -etcd-prefix=${FLANNEL_ETCD_PREFIX} $FLANNEL_OPTIONS") {
		if name, alone := strings.CutPrefix(word, "$F"); alone { // systemd makes words of its value
			words = append(words, strings.Fields(sysconfig["F"+name])...)
		} else {
			words = append(words, os.Expand(word, func(name string) string { return sysconfig[name] }))
		}
	}
	n.startFlanneld(env, words...)
	olderAPI{w, "/atomic.io/network/"}.configure(hostGW)
	for _, n := range w.nodes {
		n.ready()
	}
	pings(t, w)
	if log := n.Agent.Stderr(); strings.Contains(log, "FLANNEL_") {
		t.Error(log)
	}
}

// What cannot be is said in one sentence of weft's, with what was found and
// what to do.
func TestFailures(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 1)
	n := w.nodes[0]
	n.start("--iface=wg0") // behind --iface=eth0, which counts
	w.configure(hostGW)
	n.ready()
	n.signal(syscall.SIGTERM)
	out, err := n.start("--public-ip=203.0.113.9").Agent.Wait(soon)
	check(t, err)
	last := lastLine(out.Stderr)
	if out.Status != 1 || !strings.HasPrefix(last, "weft: ") || strings.Count("\n"+out.Stderr, "\nweft: ") != 1 {
		t.Error(out.Status, out.Stderr)
	}
	for _, word := range []string{"203.0.113.9", n.addr.String(), "eth0", "--public-ip"} {
		if !strings.Contains(last, word) {
			t.Errorf("%q says nothing of %s", last, word)
		}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// A network in etcd's older interface, as `etcdctl mk` makes it and `ls` shows it.
func TestOlderAPI(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	keys := olderAPI{w, "/atomic.io/network/"}
	for _, n := range w.nodes {
		n.start("--etcd-api=2", "--etcd-prefix=/atomic.io/network")
	}
	keys.configure(hostGW)
	for _, n := range w.nodes {
		n.ready()
	}
	pings(t, w)
	leases := keys.leases()
	for _, n := range w.nodes {
		want := fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":null,"BackendType":"host-gw"}`, n.addr)
		if have := leases[n.leaseKey()]; have != want {
			t.Errorf("%s: the lease is %s, want %s", n.Name, have, want)
		}
	}
	var listed []string
	for _, k := range keys.ls("") {
		listed = append(listed, k.Key)
	}
	slices.Sort(listed)
	if want := []string{"/atomic.io/network/config", "/atomic.io/network/subnets"}; !slices.Equal(listed, want) {
		t.Errorf("%q, want %q", listed, want)
	}
}

// The rules are put back when they are flushed, outlive the agent, and go with
// the clean-up.
func TestRules(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 1)
	n := w.nodes[0]
	n.start("--ip-masq", "--iptables-resync=1")
	w.configure(hostGW)
	n.ready()
	if f := n.file(); !f.IPMasq {
		t.Error(f)
	}
	rules := n.rules()
	if rules == 0 {
		t.Fatal("no rules")
	}
	check(t, n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.FlushRuleset()
		return c.Flush()
	}))
	eventually(t, func() error {
		if got := n.rules(); got != rules {
			return fmt.Errorf("%d rules, want %d", got, rules)
		}
		return nil
	})
	n.signal(syscall.SIGTERM)
	if got := n.rules(); got != rules {
		t.Errorf("%d rules, want %d", got, rules)
	}
	if out := n.run(append([]string{"agent", "--cleanup"}, n.flags()...)...); out.Status != 0 {
		t.Error(out)
	}
	if got := n.rules(); got != 0 {
		t.Errorf("%d rules are left", got)
	}
}

// rules counts all of the host's.
func (n *node) rules() (count int) {
	n.t.Helper()
	check(n.t, n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := c.ListChains()
		for _, chain := range chains {
			rules, err := c.GetRules(chain.Table, chain)
			if err != nil {
				return err
			}
			count += len(rules)
		}
		return err
	}))
	return count
}

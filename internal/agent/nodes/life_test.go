package nodes

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

const hostGW = `{"Network":"172.7.0.0/16","Backend":{"Type":"host-gw"}}`

// pair is two nodes of a network, with a container behind each.
func pair(t *testing.T, config string, more ...string) *network {
	t.Helper()
	w := newNetwork(t, 2)
	w.nodes[0].start(more...)
	w.put("config", config)
	w.nodes[1].start(more...)
	for _, n := range w.nodes {
		n.ready()
	}
	return w
}

// pings has two hosts reach each other.
func pings(t *testing.T, w *network) (a, b *lab.Host) {
	t.Helper()
	a, addrA := w.nodes[0].container()
	b, addrB := w.nodes[1].container()
	eventually(t, func() error {
		return errors.Join(a.Ping(addrB, lab.PingOptions{}).Lost(), b.Ping(addrA, lab.PingOptions{}).Lost())
	})
	if err := a.Ping(addrB, lab.PingOptions{Count: 20}).Lost(); err != nil {
		t.Error(err)
	}
	return a, b
}

func TestHostGW(t *testing.T) {
	w := pair(t, hostGW)
	for i, n := range w.nodes {
		peer := w.nodes[1-i]
		eventually(t, func() error { return n.has(fmt.Sprintf("%v via %v dev eth0", peer.file().Subnet, peer.addr)) })
	}
	pings(t, w)
}

// Whichever signal ends an agent, it does so without an error and leaves all
// there is; the next one goes on with it.
func TestSignals(t *testing.T) {
	w := pair(t, hostGW)
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

func TestCleanup(t *testing.T) {
	w := pair(t, hostGW, "--ip-blackhole-route", "--iptables-resync=1")
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
	if _, err := os.Stat(n.subnetFile()); !errors.Is(err, fs.ErrNotExist) {
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
	w := pair(t, hostGW)
	a, _ := pings(t, w)
	for _, n := range w.nodes {
		n.signal(syscall.SIGKILL)
	}
	if err := a.Ping(w.nodes[1].file().Subnet.Addr().Next().Next(), lab.PingOptions{Count: 20}).Lost(); err != nil {
		t.Error(err)
	}
}

// Under flanneld's name, with what seed 003's file in /etc/sysconfig sets.
func TestAsFlanneld(t *testing.T) {
	w := newNetwork(t, 2)
	w.nodes[0].start()
	w.put("config", hostGW)
	n := w.nodes[1]
	program := filepath.Join(n.dir, "flanneld")
	self, err := os.Executable()
	check(t, err)
	check(t, os.Symlink(self, program))
	env := append(n.env(), "FLANNELD_ETCD_ENDPOINTS="+w.store, "FLANNELD_ETCD_PREFIX=/coreos.com/network", "FLANNELD_IFACE=eth0",
		"FLANNELD_SUBNET_FILE="+n.subnetFile(), fmt.Sprint("FLANNELD_HEALTHZ_PORT=", healthPort))
	n.agent, err = n.Spawn(env, program)
	check(t, err)
	n.ready()
	if status, body := n.probe("/healthz"); status != http.StatusOK || body != "flanneld is running" {
		t.Error(status, body)
	}
	if _, leased := w.leases()[strings.ReplaceAll(n.file().Subnet.String(), "/", "-")]; !leased {
		t.Error(w.leases())
	}
}

// What cannot be is said in one sentence of weft's.
func TestFailures(t *testing.T) {
	w := newNetwork(t, 1)
	n := w.nodes[0]
	n.start("--iface=wg0") // behind --iface=eth0, which counts
	w.put("config", hostGW)
	n.ready()
	n.signal(syscall.SIGTERM)
	n.start("--public-ip=203.0.113.9").agent.Ended()
	out, err := n.agent.Wait(soon)
	check(t, err)
	if last := lastLine(out.Stderr); out.Status != 1 || !strings.HasPrefix(last, "weft: ") {
		t.Error(out.Status, last)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

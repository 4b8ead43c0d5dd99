package nodes

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// BenchmarkLeases measures one node of a large network, whose other nodes are
// leases in etcd and nothing else: how long a starting agent takes to program
// them all, how long a change takes, of many and alone, what the agent and the daemon have of
// memory then, and how many pings of a peer are lost meanwhile.
func BenchmarkLeases(b *testing.B) {
	for _, datapath := range []string{"user", "kernel"} {
		for _, leases := range []int{1000, 10000} {
			b.Run(fmt.Sprintf("datapath=%s/leases=%d", datapath, leases), func(b *testing.B) {
				if datapath == "kernel" {
					lab.NeedKernelVXLAN(b)
				}
				for b.Loop() {
					measureLeases(b, datapath, leases)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

const overLarge = `{"Network":"10.0.0.0/8","SubnetLen":24,"Backend":{"Type":"vxlan"}}`

func measureLeases(b *testing.B, datapath string, leases int) {
	o := newOverlay(b, overLarge, datapath, datapath)
	pings := o.keepPinging()
	pings.another()
	n := o.nodes[1]
	before := o.countRoutes(n)
	n.signal(syscall.SIGTERM)
	for from := 0; from < leases; from += 100 {
		o.putLeases(from, min(100, leases-from), 0)
	}
	n.start("--datapath=" + datapath)
	began := time.Now()
	o.awaitRoutes(n, before+leases)
	b.ReportMetric(time.Since(began).Seconds()*1e3, "ms-full")
	n.ready()
	const changes = 100
	began = time.Now()
	o.putLeases(leases, changes, 0)
	o.awaitRoutes(n, before+leases+changes)
	b.ReportMetric(time.Since(began).Seconds()*1e3/changes, "ms/change")
	began = time.Now()
	o.putLeases(0, changes, 1) // other MACs
	check(b, lab.Eventually(2*soon, func() error {
		if n.stations("02:01:") != changes {
			return errors.New("not all have changed")
		}
		return nil
	}))
	b.ReportMetric(time.Since(began).Seconds()*1e3/changes, "ms/other-MAC")
	b.ReportMetric(o.oneByOne(n, leases+changes, 11), "ms-one")
	pings.another()
	if err := pings.end(); err != nil {
		b.Error(err)
	}
	b.ReportMetric(rss(b, n.Agent.Pid()), "MB-agent")
	if datapath == "user" {
		b.ReportMetric(rss(b, n.daemon()), "MB-daemon")
	}
}

// A thousand nodes come, then some of them change and others go: what the node knows
// follows, and no ping of a peer that has nothing to do with it is lost.
func TestThousandNodes(t *testing.T) {
	t.Parallel()
	eachDatapath(t, func(t *testing.T, datapath string) {
		o := newOverlay(t, overLarge, datapath, datapath)
		pings := o.keepPinging()
		pings.another()
		n := o.nodes[1]
		before := o.countRoutes(n)
		for from := 0; from < 1000; from += 100 {
			o.putLeases(from, 100, 0)
		}
		o.awaitRoutes(n, before+1000)
		o.putLeases(0, 100, 1)
		o.deleteLeases(100, 100)
		o.awaitRoutes(n, before+900)
		eventually(t, func() error {
			if former, changed := n.stations("02:00:"), n.stations("02:01:"); former != 800 || changed != 100 {
				return fmt.Errorf("%d neighbours as they were and %d that have changed, want 800 and 100", former, changed)
			}
			return nil
		})
		pings.another()
		check(t, pings.end())
	})
}

// stations counts the node's neighbours behind the overlay's device whose MACs begin
// so.
func (n *node) stations(begin string) (count int) {
	n.t.Helper()
	device, err := n.Netlink().LinkByName("flannel.1")
	check(n.t, err)
	all, err := n.Netlink().NeighList(device.Attrs().Index, netlink.FAMILY_V4)
	check(n.t, err)
	for _, e := range all {
		if strings.HasPrefix(e.HardwareAddr.String(), begin) {
			count++
		}
	}
	return count
}

// oneByOne writes leases, each when there is a way to the one before, and returns how
// long half of them take at most, in ms.
func (o *overlay) oneByOne(n *node, from, count int) float64 {
	o.t.Helper()
	device, err := n.Netlink().LinkByName("flannel.1")
	check(o.t, err)
	var took []time.Duration
	for i := from; i < from+count; i++ {
		began := time.Now()
		o.putLeases(i, 1, 0)
		eventually(o.t, func() error {
			routes, err := n.Netlink().RouteGet(net.IPv4(10, byte(100+i/256), byte(i), 1))
			if err == nil && routes[0].LinkIndex != device.Attrs().Index {
				err = errors.New("there is none to " + leaseOf(i))
			}
			return err
		})
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2].Seconds() * 1e3
}

// putLeases writes leases of peers that are not there, from 10.100.0.0/24 on.
func (w *network) putLeases(from, count, address int) {
	w.t.Helper()
	var ops []string
	for i := from; i < from+count; i++ {
		key := leaseOf(i)
		value := fmt.Sprintf(`{"PublicIP":"10.4.%d.%d","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:%02x:%02x:%02x:%02x:01"}}`,
			100+i/250, 1+i%250, address, i>>16, i>>8&0xff, i&0xff)
		ops = append(ops, fmt.Sprintf(`{"requestPut":{"key":"%s","value":"%s"}}`,
			base64.StdEncoding.EncodeToString([]byte(key)), base64.StdEncoding.EncodeToString([]byte(value))))
	}
	w.transact(ops)
}

// deleteLeases takes some of them away.
func (w *network) deleteLeases(from, count int) {
	w.t.Helper()
	var ops []string
	for i := from; i < from+count; i++ {
		ops = append(ops, fmt.Sprintf(`{"requestDeleteRange":{"key":"%s"}}`, base64.StdEncoding.EncodeToString([]byte(leaseOf(i)))))
	}
	w.transact(ops)
}

func leaseOf(i int) string { return fmt.Sprintf("%ssubnets/10.%d.%d.0-24", prefix, 100+i/256, i%256) }

// transact has etcd do some things at once.
func (w *network) transact(ops []string) {
	w.t.Helper()
	_, err := w.nodes[0].Post(w.store, "kv/txn", []byte(`{"success":[`+strings.Join(ops, ",")+`]}`))
	check(w.t, err)
}

func (o *overlay) countRoutes(n *node) int {
	o.t.Helper()
	routes, err := n.Netlink().RouteList(nil, netlink.FAMILY_V4)
	check(o.t, err)
	return len(routes)
}

func (o *overlay) awaitRoutes(n *node, want int) {
	o.t.Helper()
	check(o.t, lab.Eventually(2*soon, func() error {
		if got := o.countRoutes(n); got != want {
			return fmt.Errorf("%d routes, want %d: %s", got, want, n.Agent.Stderr())
		}
		return nil
	}))
}

// rss is what a process has in memory, in MB.
func rss(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	check(b, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	check(b, err)
	return float64(pages*os.Getpagesize()) / 1e6
}

// daemon is the process that carries the node's packets.
func (n *node) daemon() int {
	n.t.Helper()
	locks, err := filepath.Glob(filepath.Join(n.Dir, "weft", "*.lock"))
	check(n.t, err)
	for _, lock := range locks {
		text, _ := os.ReadFile(lock)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid != n.Agent.Pid() {
			return pid
		}
	}
	n.t.Fatalf("no daemon in %v", locks)
	return 0
}

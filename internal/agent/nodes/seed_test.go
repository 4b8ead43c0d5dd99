package nodes

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// seed is a config as seeds 002 and 003 write it, and what is to be seen of the
// node at 10.4.7.21 and, its numbers in the place of the other's, of 10.4.7.22.
type seed struct {
	config    string
	datapaths [2]string
	file      string    // subnet.env as the seed has it, but for the subnet
	subnets   [2]string // up to the last dot
	mtu       int
	routes    []string // besides those to the underlay and to docker0
	device    string   // "" for none
	record    string   // of the lease, %s for the device's MAC
	entry     string   // of the device's entry for the peer, with %s for its MAC
}

const file002 = "FLANNEL_NETWORK=172.7.0.0/16\nFLANNEL_SUBNET={own}.1/24\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=false\n"

var seeds = map[string]seed{
	"002/VxLAN": {
		config: `{"Network": "172.7.0.0/16", "Backend": {"Type": "VxLAN"}}`, datapaths: [2]string{"user", "kernel"},
		file: file002, subnets: [2]string{"172.7.21", "172.7.22"}, mtu: 1450,
		routes: []string{"{peer}.0/24 via {peer}.0 dev flannel.1 onlink"}, device: "flannel.1",
		record: `,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"%s"}`,
		entry:  "%s dst {underlay} self permanent",
	},
	"002/Directrouting": {
		config: `{"Network": "172.7.0.0/16", "Backend": {"Type": "VxLAN","Directrouting": true}}`, datapaths: [2]string{"kernel", "user"},
		file: file002, subnets: [2]string{"172.7.21", "172.7.22"}, mtu: 1450,
		routes: []string{"{peer}.0/24 via {underlay} dev eth0"}, device: "flannel.1",
		record: `,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"%s"}`,
	},
	"002/host-gw": {
		config: `{"Network": "172.7.0.0/16", "Backend": {"Type": "host-gw"}}`, datapaths: [2]string{"auto", "auto"},
		file: file002, subnets: [2]string{"172.7.21", "172.7.22"}, mtu: 1500,
		routes: []string{"{peer}.0/24 via {underlay} dev eth0"},
		record: `,"BackendType":"host-gw"`,
	},
	"003": {
		config: `{ "Network": "10.0.0.0/16" }`, datapaths: [2]string{"auto", "auto"},
		file:    "FLANNEL_NETWORK=10.0.0.0/16\nFLANNEL_SUBNET={own}.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n",
		subnets: [2]string{"10.0.53", "10.0.80"}, mtu: 1472,
		routes: []string{"10.0.0.0/16 dev flannel0"}, device: "flannel0",
		entry: "{peer}.0/24 via {underlay}",
	},
}

// Hosts with the subnet files of the seeds, and all that the seeds print of them,
// line for line. Nothing else is there.
func TestSeedLines(t *testing.T) {
	t.Parallel()
	for name, s := range seeds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needDatapath(t, s.datapaths[0])
			needDatapath(t, s.datapaths[1])
			o := s.start(t)
			for i, n := range o.nodes {
				s.checkHost(n, i)
			}
			s.checkLeases(o)
			o.reach()
		})
	}
}

func (s *seed) start(t *testing.T) *overlay {
	t.Helper()
	o := &overlay{network: newNetwork(t, 2)}
	s.startAgents(t, o.network)
	for i, n := range o.nodes {
		o.containers[i], o.addrs[i] = n.container()
	}
	return o
}

// startAgents has the agents of the first two nodes ready.
func (s *seed) startAgents(t *testing.T, w *network) {
	t.Helper()
	for i, n := range w.nodes[:2] {
		check(t, n.Netlink().RouteAdd(&netlink.Route{Gw: net.IPv4(10, 4, 7, 1), Protocol: unix.RTPROT_STATIC, Priority: 100}))
		check(t, os.WriteFile(n.SubnetFile(), []byte(s.words(w, i, s.file)), 0o644))
		n.start("--datapath=" + s.datapaths[i])
		if i == 0 {
			w.configure(s.config)
		}
	}
	for _, n := range w.nodes[:2] {
		n.ready()
	}
}

// words puts in what a text says of a node and of its peer.
func (s *seed) words(w *network, node int, text string) string {
	return strings.NewReplacer("{own}", s.subnets[node], "{peer}", s.subnets[1-node],
		"{underlay}", w.nodes[1-node].addr.String(), "{host}", w.nodes[node].addr.String()).Replace(text)
}

// checkHost compares `ip route`, subnet.env, and what is of the device.
func (s *seed) checkHost(n *node, i int) {
	n.t.Helper()
	routes := append([]string{
		"default via 10.4.7.1 dev eth0 proto static metric 100",
		"10.4.7.0/24 dev eth0 proto kernel scope link src {host}",
		"{own}.0/24 dev docker0 proto kernel scope link src {own}.1",
	}, s.routes...)
	n.compare("ip route", func() ([]string, error) { return n.RouteLines(unix.AF_INET) }, s.lines(n, i, routes...))
	text, err := os.ReadFile(n.SubnetFile())
	check(n.t, err)
	want := strings.ReplaceAll(s.words(n.net, i, s.file), "FLANNEL_MTU=1500", fmt.Sprint("FLANNEL_MTU=", s.mtu))
	if string(text) != want {
		n.t.Errorf("%s: subnet.env is %q, want %q", n.Name, text, want)
	}
	if s.device != "" {
		s.checkDevice(n, i)
	} else if _, err := n.Device("flannel.1"); err == nil {
		n.t.Errorf("%s has a flannel.1", n.Name)
	}
}

func (s *seed) lines(n *node, i int, texts ...string) []string {
	lines := make([]string, len(texts))
	for k, text := range texts {
		lines[k] = s.words(n.net, i, text)
	}
	slices.Sort(lines)
	return lines
}

// compare waits until what is read has the lines that are wanted and no other.
func (n *node) compare(what string, read func() ([]string, error), want []string) {
	n.t.Helper()
	err := lab.Eventually(soon, func() error {
		got, err := read()
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("%s: %s is\n%q, want\n%q", n.Name, what, got, want)
		}
		return err
	})
	if err != nil {
		n.t.Error(err)
	}
}

// checkDevice compares what ifconfig shows, and the entries for the peer: seed
// 002's of the FDB with the neighbour, and 003's route of the daemon.
func (s *seed) checkDevice(n *node, i int) {
	n.t.Helper()
	d, err := n.Device(s.device)
	check(n.t, err)
	n.checkNumbers(d, s.subnets[i]+".0/32", s.mtu)
	if s.device == "flannel0" {
		n.compare("weft route show", func() ([]string, error) { return n.shown("route", "show", "dev", d.Name), nil }, s.lines(n, i, s.entry))
		return
	}
	if flags := net.FlagUp | net.FlagBroadcast | net.FlagRunning | net.FlagMulticast; d.Flags != flags {
		n.t.Errorf("%s: flags of %s %v, want %v", n.Name, d.Name, d.Flags, flags)
	}
	var entries, neighbours []string
	if s.entry != "" {
		peer, err := n.net.nodes[1-i].Device(d.Name)
		check(n.t, err)
		entries = s.lines(n, i, fmt.Sprintf(s.entry, peer.MAC))
		neighbours = s.lines(n, i, fmt.Sprintf("{peer}.0 lladdr %s PERMANENT", peer.MAC))
	}
	n.compare("bridge fdb", func() ([]string, error) { return trimmed(n.fdb(d.Name, d.Kind)), nil }, entries)
	n.compare("ip neigh", func() ([]string, error) { return n.neighbours(d.Index, unix.AF_INET) }, neighbours)
}

// checkNumbers wants one address of IPv4, and an MTU.
func (n *node) checkNumbers(d lab.Device, addr string, mtu int) {
	n.t.Helper()
	own := slices.DeleteFunc(slices.Clone(d.Addresses), func(p netip.Prefix) bool { return !p.Addr().Is4() })
	if len(own) != 1 || own[0].String() != addr || d.MTU != mtu {
		n.t.Errorf("%s: %s has %v and mtu %d, want %s and %d", n.Name, d.Name, own, d.MTU, addr, mtu)
	}
}

// shown are the lines that weft prints.
func (n *node) shown(words ...string) []string { return trimmed(n.run(words...).Stdout) }

// trimmed are the lines of a text, sorted.
func trimmed(text string) (lines []string) {
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	slices.Sort(lines)
	return lines
}

// neighbours are the permanent ones, as `ip neigh show dev` writes them.
func (n *node) neighbours(index, family int) (lines []string, err error) {
	found, err := n.Netlink().NeighList(index, family)
	for _, e := range found {
		if e.State == netlink.NUD_PERMANENT {
			lines = append(lines, fmt.Sprintf("%s lladdr %s PERMANENT", e.IP, e.HardwareAddr))
		}
	}
	slices.Sort(lines)
	return lines, err
}

// checkLeases compares what `etcdctl ls` and `get` show of the subnets.
func (s *seed) checkLeases(o *overlay) {
	o.t.Helper()
	want := map[string]string{}
	for i, n := range o.nodes {
		record := s.record
		if strings.Contains(record, "%s") {
			d, err := n.Device(s.device)
			check(o.t, err)
			record = fmt.Sprintf(record, d.MAC)
		}
		want[s.subnets[i]+".0-24"] = fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":null%s}`, n.addr, record)
	}
	if got := o.leases(); fmt.Sprint(got) != fmt.Sprint(want) {
		o.t.Errorf("leases\n%v, want\n%v", got, want)
	}
}

package nodes

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// Configs of seeds 002 and 003.
const (
	overVXLAN = `{"Network":"172.7.0.0/16","Backend":{"Type":"VxLAN"}}`
	overUDP   = `{"Network":"10.1.0.0/16","Backend":{"Type":"udp"}}`
)

// overlay is two nodes with a datapath each, and a container behind both.
type overlay struct {
	*network
	containers [2]*lab.Host
	addrs      [2]netip.Addr
}

func newOverlay(t testing.TB, config string, datapaths ...string) *overlay {
	t.Helper()
	o := &overlay{network: newNetwork(t, 2)}
	for i, n := range o.nodes {
		n.start("--datapath=" + datapaths[i])
		if i == 0 {
			o.configure(config)
		}
	}
	for i, n := range o.nodes {
		n.ready()
		o.containers[i], o.addrs[i] = n.container()
	}
	return o
}

// reach has the containers ping each other and move checked bytes both ways.
func (o *overlay) reach() {
	o.t.Helper()
	for i, c := range o.containers {
		eventually(o.t, func() error { return c.Ping(o.addrs[1-i], lab.PingOptions{}).Lost() })
	}
	for i, c := range o.containers {
		if err := c.Ping(o.addrs[1-i], lab.PingOptions{Count: 10}).Lost(); err != nil {
			o.t.Error(err)
		}
		_, err := lab.Transfer(c, o.containers[1-i], netip.AddrPortFrom(o.addrs[1-i], 0), 8<<20)
		check(o.t, err)
	}
}

// needDatapath skips nothing: it says what the machine lacks.
func needDatapath(t *testing.T, datapath string) {
	if datapath == "kernel" {
		lab.NeedKernelVXLAN(t)
	}
}

// eachDatapath runs a test with both.
func eachDatapath(t *testing.T, test func(t *testing.T, datapath string)) {
	for _, datapath := range []string{"user", "kernel"} {
		t.Run(datapath, func(t *testing.T) {
			t.Parallel()
			needDatapath(t, datapath)
			test(t, datapath)
		})
	}
}

func TestVXLAN(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"user", "user"}, {"user", "kernel"}, {"kernel", "user"}, {"auto", "user"}, {"kernel", "kernel"}} {
		t.Run(c[0]+"-"+c[1], func(t *testing.T) {
			t.Parallel()
			needDatapath(t, c[0])
			needDatapath(t, c[1])
			o := newOverlay(t, overVXLAN, c[0], c[1])
			for i, n := range o.nodes {
				o.checkVXLAN(n, o.nodes[1-i])
			}
			o.reach()
			o.walkThrough("flannel.1", o.inVXLAN)
			for i, n := range o.nodes {
				if c[i] == "user" {
					o.carriedByKernel(n)
				}
			}
		})
	}
}

// carriedByKernel wants what containers send each other to go past weft's process
// in time, out of a node and into it.
func (o *overlay) carriedByKernel(n *node) {
	o.t.Helper()
	if lab.LackOfShortcuts() != nil {
		return // without them nothing does
	}
	eventually(o.t, func() error {
		o.reach()
		out := n.run("stats", "flannel.1").Stdout
		for _, way := range []string{"shortcut_tx", "shortcut_rx"} {
			if found := regexp.MustCompile(`offload ` + way + ` +[1-9]`).FindString(out); found == "" {
				return fmt.Errorf("%s: no %s in\n%s", n.Name, way, out)
			}
		}
		return nil
	})
}

// checkVXLAN compares what seed 002 prints: the device with the subnet's first
// address and 50 bytes less, a route, a neighbour and an FDB entry for the peer,
// and the record in etcd.
func (o *overlay) checkVXLAN(n, peer *node) {
	o.t.Helper()
	base := peer.file().Subnet.Masked().Addr()
	eventually(o.t, func() error { return n.has(overVXLANTo(peer)) })
	device, err := n.Netlink().LinkByName("flannel.1")
	check(o.t, err)
	if mtu := device.Attrs().MTU; mtu != 1450 || n.file().MTU != 1450 {
		o.t.Errorf("MTU %d, in the file %d", mtu, n.file().MTU)
	}
	n.checkAddress(device)
	mac := o.vtepMAC(peer)
	neighbours, err := n.Netlink().NeighList(device.Attrs().Index, netlink.FAMILY_V4)
	check(o.t, err)
	found := false
	for _, e := range neighbours {
		found = found || e.IP.String() == base.String() && e.HardwareAddr.String() == mac && e.State == netlink.NUD_PERMANENT
	}
	if !found {
		o.t.Errorf("%s: no permanent neighbour %v with %s among %v", n.Name, base, mac, neighbours)
	}
	want := fmt.Sprintf("%s dst %v self permanent", mac, peer.addr)
	eventually(o.t, func() error {
		if lines := n.fdb("flannel.1", device.Type()); !strings.Contains(lines, want+"\n") {
			return fmt.Errorf("%s: no %q in %s", n.Name, want, lines)
		}
		return nil
	})
}

// overVXLANTo is the route to a node over flannel.1.
func overVXLANTo(peer *node) string {
	subnet := peer.file().Subnet.Masked()
	return fmt.Sprintf("%v via %v dev flannel.1 type 1 onlink", subnet, subnet.Addr())
}

// checkAddress wants the first address of the node's subnet on a device, alone.
func (n *node) checkAddress(device netlink.Link) {
	n.t.Helper()
	addrs, err := n.Netlink().AddrList(device, netlink.FAMILY_V4)
	check(n.t, err)
	if want := n.file().Subnet.Masked().Addr().String() + "/32"; len(addrs) != 1 || addrs[0].IPNet.String() != want {
		n.t.Errorf("%s: addresses of %s %v, want %s", n.Name, device.Attrs().Name, addrs, want)
	}
}

// fdb is that of a device: the kernel's by netlink, weft's by its program.
func (n *node) fdb(dev, kind string) string {
	n.t.Helper()
	if kind != "vxlan" {
		return n.run("fdb", "show", "dev", dev).Stdout
	}
	entries, err := n.FDB(dev)
	check(n.t, err)
	var b strings.Builder
	for i := range entries {
		b.WriteString(entries[i].Line() + "\n")
	}
	return b.String()
}

// vtepMAC is the MAC in a node's lease, which has to be written as flannel does.
func (o *overlay) vtepMAC(n *node) string {
	o.t.Helper()
	device, err := n.Netlink().LinkByName("flannel.1")
	check(o.t, err)
	mac := device.Attrs().HardwareAddr.String()
	want := fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"%s"}}`, n.addr, mac)
	key := n.leaseKey()
	if have := o.leases()[key]; have != want {
		o.t.Errorf("lease %s is %s, want %s", key, have, want)
	}
	return mac
}

// Seed 003: one route for the network, a device without a link layer, whose
// daemon has a route to each peer, and a lease that says nothing but where the
// node is.
func TestUDP(t *testing.T) {
	t.Parallel()
	o := newOverlay(t, overUDP, "user", "user")
	for i, n := range o.nodes {
		check(t, n.has("10.1.0.0/16 via <nil> dev flannel0 type 1\n"))
		device, err := n.Netlink().LinkByName("flannel0")
		check(t, err)
		if mtu := device.Attrs().MTU; mtu != 1472 || n.file().MTU != 1472 {
			t.Errorf("MTU %d, in the file %d", mtu, n.file().MTU)
		}
		if mac := device.Attrs().HardwareAddr; len(mac) != 0 {
			t.Errorf("flannel0 has the MAC %v", mac)
		}
		n.checkAddress(device)
		peer := o.nodes[1-i]
		want := fmt.Sprintf("%v via %v", peer.file().Subnet.Masked(), peer.addr)
		eventually(t, func() error {
			if out := n.run("route", "show", "dev", "flannel0"); strings.TrimSpace(out.Stdout) != want {
				return fmt.Errorf("%s: routes %q, want %q %s", n.Name, out.Stdout, want, out.Stderr)
			}
			return nil
		})
		key := n.leaseKey()
		if have, want := o.leases()[key], fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":null}`, n.addr); have != want {
			t.Errorf("lease %s is %s, want %s", key, have, want)
		}
	}
	o.reach()
	o.walkThrough("flannel0", o.inUDP)
}

// Agents that are killed take nothing with them, and the next ones find all
// again, the MAC too: of the pings before, between and behind none is lost, and
// of ten thousand datagrams a second none is lost, doubled or out of order.
func TestKilledUnderTraffic(t *testing.T) {
	for name, config := range map[string]string{"vxlan": overVXLAN, "udp": overUDP} {
		t.Run(name, func(t *testing.T) {
			o := newOverlay(t, config, "user", "user")
			o.reach()
			before := o.leases()
			pings := o.keepPinging()
			stream := startStream(t, o.containers[0], o.containers[1], o.addrs[1])
			// The second node's store is with the first one's agent, so the
			// first one is replaced last.
			for _, n := range []*node{o.nodes[1], o.nodes[0]} {
				pings.another()
				if out := n.signal(syscall.SIGKILL); out.Status == 0 {
					t.Error(out)
				}
				pings.another()
				stream.more(perSecond / 4)
				n.start("--datapath=user").ready()
				stream.more(perSecond / 4)
				pings.another()
			}
			stream.whole()
			check(t, pings.end())
			if after := o.leases(); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("leases %v, before %v", after, before)
			}
			o.reach()
		})
	}
}

// pinging is one ping after the other, without a pause but between hundreds.
type pinging struct {
	rounds chan error    // one for each hundred
	stop   chan struct{} // closed to end it
	first  error
}

// keepPinging pings from the first container to the second until it is ended.
func (o *overlay) keepPinging() *pinging {
	p := &pinging{rounds: make(chan error), stop: make(chan struct{})}
	go func() {
		defer close(p.rounds)
		for {
			err := o.containers[0].Ping(o.addrs[1], lab.PingOptions{Count: 100}).Lost()
			select {
			case p.rounds <- err:
			case <-p.stop:
				if err != nil {
					p.rounds <- err
				}
				return
			}
		}
	}()
	return p
}

// another waits until a hundred pings that were sent after now are answered or
// lost.
func (p *pinging) another() {
	for range 2 { // the first of them may have begun before
		if err := <-p.rounds; err != nil && p.first == nil {
			p.first = err
		}
	}
}

// end returns the first loss.
func (p *pinging) end() error {
	close(p.stop)
	for err := range p.rounds {
		if err != nil && p.first == nil {
			p.first = err
		}
	}
	return p.first
}

// What a node made is gone after the clean-up, also the daemon's link; what the
// other one made is not.
func TestOverlayCleanup(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{"flannel.1": overVXLAN, "flannel0": overUDP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOverlay(t, config, "user", "user")
			o.reach()
			n := o.nodes[1]
			key, others := n.leaseKey(), o.nodes[0].leaseKey()
			n.signal(syscall.SIGTERM)
			check(t, n.has("dev "+name))
			if links := n.run("link", "show").Stdout; !strings.Contains(links, name) {
				t.Fatal("no link before:", links)
			}
			if out := n.run(append([]string{"agent", "--cleanup"}, n.flags("--datapath=user")...)...); out.Status != 0 {
				t.Fatal(out)
			}
			n.checkClean(name)
			leases := o.leases()
			if _, left := leases[key]; left {
				t.Errorf("the lease %s is left", key)
			}
			if _, there := leases[others]; !there || len(leases) != 1 {
				t.Errorf("leases %v, want that of %s", leases, others)
			}
			if _, err := o.nodes[0].Netlink().LinkByName(name); err != nil {
				t.Error("of the other node:", err)
			}
		})
	}
}

// checkClean wants no device, no link, no routes to the network and no subnet
// file.
func (n *node) checkClean(device string) {
	n.t.Helper()
	eventually(n.t, func() error {
		if _, err := n.Netlink().LinkByName(device); err == nil {
			return errors.New("the device is still there")
		}
		return nil
	})
	if routes := n.routes(); strings.Contains(routes, "flannel") {
		n.t.Errorf("routes are left: %s", routes)
	}
	if out := n.run("link", "show"); strings.Contains(out.Stdout, "flannel") {
		n.t.Errorf("a link is left: %s", out.Stdout)
	}
	if _, err := os.Stat(n.SubnetFile()); !errors.Is(err, fs.ErrNotExist) {
		n.t.Error("the subnet file is left:", err)
	}
}

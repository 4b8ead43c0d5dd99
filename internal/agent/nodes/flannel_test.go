package nodes

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/proxy"
)

// device is that of the nodes.
func (m *mixture) device() string { return fmt.Sprint("flannel.", m.vni) }

// joinAsFlannel does what flanneld does on a host: lease, device, subnet file, and
// for each lease of another node a neighbour, an FDB entry and a route.
func (m *mixture) joinAsFlannel(n *node, keys registry, subnet netip.Prefix) {
	n.t.Helper()
	dev := m.device()
	check(n.t, n.AddKernelVXLAN(lab.VXLAN{Name: dev, ID: m.vni, Port: m.port, Local: n.addr, Dev: "eth0", MTU: 1450, NoLearning: true}))
	check(n.t, n.AddAddr(dev, netip.PrefixFrom(subnet.Addr(), 32)))
	check(n.t, n.SetUp(dev))
	device, err := n.Device(dev)
	check(n.t, err)
	peers := keys.leases()
	keys.create(leaseName(subnet), m.record(n.addr, device.MAC))
	n.writeSubnetFile("172.7.0.0/16", subnet, 1450)
	for key, text := range peers {
		n.meetAsFlannel(device, leased(key), text)
	}
}

// record is what flannel writes of a node.
func (m *mixture) record(addr netip.Addr, mac net.HardwareAddr) string {
	if m.old {
		return fmt.Sprintf(`{"PublicIP":"%v","BackendType":"vxlan","BackendData":{"VtepMAC":"%v"}}`, addr, mac)
	}
	return fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":%d,"VtepMAC":"%v"}}`, addr, m.vni, mac)
}

// peerRecord is what flannel reads of another node.
type peerRecord struct {
	PublicIP    netip.Addr
	BackendData struct{ VtepMAC string }
}

func (n *node) meetAsFlannel(device lab.Device, subnet netip.Prefix, record string) {
	n.t.Helper()
	var peer peerRecord
	check(n.t, json.Unmarshal([]byte(record), &peer))
	mac, err := net.ParseMAC(peer.BackendData.VtepMAC)
	check(n.t, err)
	check(n.t, n.AddNeighbour(device.Name, subnet.Addr(), mac))
	check(n.t, n.ChangeFDB(lab.FDBReplace, lab.FDBEntry{MAC: mac, Dev: device.Name, Dst: peer.PublicIP}))
	check(n.t, n.Netlink().RouteReplace(&netlink.Route{
		LinkIndex: device.Index, Gw: subnet.Addr().AsSlice(), Flags: int(netlink.FLAG_ONLINK),
		Dst: &net.IPNet{IP: subnet.Addr().AsSlice(), Mask: net.CIDRMask(subnet.Bits(), 32)},
	}))
}

// joinWithProxy does what flanneld does on a host of a network of type udp: lease,
// device with the network's route, subnet file, and for each lease of another node a
// route of the proxy's.
func (n *node) joinWithProxy(subnet netip.Prefix) *proxy.Proxy {
	n.t.Helper()
	const dev, network, mtu = "flannel0", "10.1.0.0/16", 1472
	lab.NeedTUN(n.t)
	p, err := proxy.New(n.Host, proxy.Config{Device: dev, MTU: mtu, Local: n.addr})
	check(n.t, err)
	n.t.Cleanup(p.Close)
	check(n.t, n.AddAddr(dev, netip.PrefixFrom(subnet.Addr(), 32)))
	check(n.t, n.SetUp(dev))
	check(n.t, n.AddRoute(netip.MustParsePrefix(network), dev, netip.Addr{}))
	peers := n.net.leases()
	n.net.create(leaseName(subnet), fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":null}`, n.addr))
	n.writeSubnetFile(network, subnet, mtu)
	for key, text := range peers {
		var peer peerRecord
		check(n.t, json.Unmarshal([]byte(text), &peer))
		p.Route(leased(key), peer.PublicIP)
	}
	return p
}

// leaseName is the key of a lease below the network's prefix.
func leaseName(subnet netip.Prefix) string {
	return "subnets/" + strings.ReplaceAll(subnet.String(), "/", "-")
}

// leased is the subnet of a lease, by what its key ends with.
func leased(key string) netip.Prefix { return netip.MustParsePrefix(strings.ReplaceAll(key, "-", "/")) }

func (n *node) writeSubnetFile(network string, subnet netip.Prefix, mtu int) {
	n.t.Helper()
	text := fmt.Sprintf("FLANNEL_NETWORK=%s\nFLANNEL_SUBNET=%v/%d\nFLANNEL_MTU=%d\nFLANNEL_IPMASQ=false\n", network, subnet.Addr().Next(), subnet.Bits(), mtu)
	check(n.t, os.WriteFile(n.SubnetFile(), []byte(text), 0o644))
}

package nodes

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// envTransfer has the mixed network move so many MiB for each pair.
const envTransfer = "WEFT_TRANSFER_MIB"

// A node with weft's device, one with the kernel's by weft's agent, and one on
// which none of weft runs: the kernel's device is programmed there, and the lease
// written, as flannel does it. Each container reaches each.
func TestMixed(t *testing.T) {
	t.Parallel()
	lab.NeedKernelVXLAN(t)
	w := newNetwork(t, 3)
	w.nodes[0].start("--datapath=user")
	w.configure(overVXLAN)
	w.nodes[1].start("--datapath=kernel")
	for _, n := range w.nodes[:2] {
		n.ready()
	}
	w.nodes[2].joinAsFlannel(netip.MustParsePrefix("172.7.200.0/24"))
	w.meshes()
}

// Nodes of the udp backend, of which there may be more than two.
func TestMeshUDP(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 3)
	for i, n := range w.nodes {
		n.start()
		if i == 0 {
			w.configure(overUDP)
		}
	}
	for _, n := range w.nodes {
		n.ready()
	}
	w.meshes()
}

// meshes has each node's container ping every other, and send it checked bytes.
func (w *network) meshes() {
	w.t.Helper()
	mib := int64(64)
	if text := os.Getenv(envTransfer); text != "" {
		var err error
		mib, err = strconv.ParseInt(text, 10, 64)
		check(w.t, err)
	}
	containers, addrs := make([]*lab.Host, len(w.nodes)), make([]netip.Addr, len(w.nodes))
	for i, n := range w.nodes {
		containers[i], addrs[i] = n.container()
	}
	for i, from := range containers {
		for k, to := range containers {
			if i == k {
				continue
			}
			eventually(w.t, func() error { return from.Ping(addrs[k], lab.PingOptions{}).Lost() })
			if err := from.Ping(addrs[k], lab.PingOptions{Count: 5}).Lost(); err != nil {
				w.t.Error(err)
			}
			_, err := lab.Transfer(from, to, netip.AddrPortFrom(addrs[k], 0), mib<<20)
			check(w.t, err)
		}
	}
}

// joinAsFlannel does what flanneld does on a host: lease, device, subnet file, and
// for each lease of another node a neighbour, an FDB entry and a route.
func (n *node) joinAsFlannel(subnet netip.Prefix) {
	n.t.Helper()
	const dev = "flannel.1"
	check(n.t, n.AddKernelVXLAN(lab.VXLAN{Name: dev, ID: 1, Local: n.addr, Dev: "eth0", MTU: 1450, NoLearning: true}))
	check(n.t, n.AddAddr(dev, netip.PrefixFrom(subnet.Addr(), 32)))
	check(n.t, n.SetUp(dev))
	device, err := n.Device(dev)
	check(n.t, err)
	record := fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"%v"}}`, n.addr, device.MAC)
	peers := n.net.leases()
	n.net.create("subnets/"+strings.ReplaceAll(subnet.String(), "/", "-"), record)
	file := fmt.Sprintf("FLANNEL_NETWORK=172.7.0.0/16\nFLANNEL_SUBNET=%v/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n", subnet.Addr().Next())
	check(n.t, os.WriteFile(n.SubnetFile(), []byte(file), 0o644))
	for key, text := range peers {
		n.meetAsFlannel(device, netip.MustParsePrefix(strings.ReplaceAll(key, "-", "/")), text)
	}
}

func (n *node) meetAsFlannel(device lab.Device, subnet netip.Prefix, record string) {
	n.t.Helper()
	var peer struct {
		PublicIP    netip.Addr
		BackendData struct{ VtepMAC string }
	}
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

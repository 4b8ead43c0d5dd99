package nodes

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/proxy"
)

// envTransfer has the mixed network move so many MiB for each pair.
const envTransfer = "WEFT_TRANSFER_MIB"

// mixture is a network of type vxlan in which weft and flannel meet.
type mixture struct {
	config string
	vni    uint32
	port   uint16 // 0 for that of the kernel's device
	old    bool   // flannel is of before v0.14, and the network in etcd's older interface
	mib    int64  // that each pair moves
}

var mixtures = map[string]mixture{
	"as a rule":     {config: overVXLAN, vni: 1, mib: 64},
	"VNI and port":  {config: `{"Network":"172.7.0.0/16","Backend":{"Type":"vxlan","VNI":42,"Port":4789}}`, vni: 42, port: 4789, mib: 4},
	"flannel v0.11": {config: overVXLAN, vni: 1, old: true, mib: 4},
}

// A node with weft's device, one with the kernel's by weft's agent, and one on
// which none of weft runs: the kernel's device is programmed there, and the lease
// written, as flannel does it. Each node and container reaches each.
func TestMixed(t *testing.T) {
	t.Parallel()
	lab.NeedKernelVXLAN(t)
	for name, m := range mixtures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m.mix(t)
		})
	}
}

func (m *mixture) mix(t *testing.T) {
	w := newNetwork(t, 3)
	keys, flags := registry(w), []string(nil)
	if m.old {
		keys, flags = olderAPI{w, prefix}, []string{"--etcd-api=2"}
	}
	w.nodes[0].start(append(flags, "--datapath=user")...)
	keys.configure(m.config)
	w.nodes[1].start(append(flags, "--datapath=kernel")...)
	for _, n := range w.nodes[:2] {
		n.ready()
		device, err := n.Device(m.device())
		check(t, err)
		want := fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":%d,"VtepMAC":"%v"}}`, n.addr, m.vni, device.MAC)
		if have := keys.leases()[n.leaseKey()]; have != want {
			t.Errorf("%s: the lease is %s, want %s", n.Name, have, want)
		}
	}
	m.joinAsFlannel(w.nodes[2], keys, netip.MustParsePrefix("172.7.200.0/24"))
	w.meshes(m.mib)
}

// Nodes of the udp backend: on the third one is flannel's proxy, for which weft has
// to finish all it sends.
func TestMeshUDP(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 3)
	w.nodes[0].start()
	w.configure(overUDP)
	w.nodes[1].start()
	for _, n := range w.nodes[:2] {
		n.ready()
	}
	p := w.nodes[2].joinWithProxy(netip.MustParsePrefix("10.1.200.0/24"))
	defer checkSeen(t, p)
	w.meshes(64)
}

// checkSeen wants a proxy to have got nothing but what it can use.
func checkSeen(t *testing.T, p *proxy.Proxy) {
	if seen := p.Seen(); seen.Datagrams == 0 || len(seen.Wrong) > 0 || seen.Greeted > seen.Datagrams/16 {
		t.Errorf("the proxy got %d datagrams, %d with a greeting, and cannot use %d, such as %q",
			seen.Datagrams, seen.Greeted, len(seen.Wrong), seen.Wrong[:min(len(seen.Wrong), 3)])
	}
}

// place is a host with an address of the overlay.
type place struct {
	*lab.Host
	addr netip.Addr
}

// places are the node itself, where the others' hosts come from, and a container.
func (n *node) places() [2]place {
	n.t.Helper()
	c, addr := n.container()
	return [2]place{{n.Host, n.file().Subnet.Masked().Addr()}, {c, addr}}
}

// meshes has each node and its container ping every other one, and send checked
// bytes to the other of its kind.
func (w *network) meshes(mib int64) {
	w.t.Helper()
	if text := os.Getenv(envTransfer); text != "" {
		var err error
		mib, err = strconv.ParseInt(text, 10, 64)
		check(w.t, err)
	}
	reach(w.t, w.everywhere(), mib)
}

// everywhere is the places of all nodes.
func (w *network) everywhere() [][2]place {
	w.t.Helper()
	all := make([][2]place, len(w.nodes))
	for i, n := range w.nodes {
		all[i] = n.places()
	}
	return all
}

func reach(t testing.TB, all [][2]place, mib int64) {
	t.Helper()
	for i, from := range all {
		for k, to := range all {
			if i == k {
				continue
			}
			for kind := range from {
				from[kind].pings(t, to)
				_, err := lab.Transfer(from[kind].Host, to[kind].Host, netip.AddrPortFrom(to[kind].addr, 0), mib<<20)
				check(t, err)
			}
		}
	}
}

// pings pings places until they answer, and then wants no ping to be lost.
func (p place) pings(t testing.TB, others [2]place) {
	t.Helper()
	for _, to := range others {
		eventually(t, func() error { return p.Ping(to.addr, lab.PingOptions{}).Lost() })
		if err := p.Ping(to.addr, lab.PingOptions{Count: 5}).Lost(); err != nil {
			t.Errorf("%s to %s: %v", p.Name, to.Name, err)
		}
	}
}

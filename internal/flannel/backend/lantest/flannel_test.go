package lantest

import (
	"net"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/lab"
)

// kernelPeer is a node on which flannel itself runs: the kernel's device,
// programmed line by line as flannel does it.
type kernelPeer struct {
	*machine
	own lease.Lease
}

func newKernelPeer(m *machine, s lease.Subnet) *kernelPeer {
	m.t.Helper()
	k := &kernelPeer{machine: m, own: lease.Lease{Subnet: s, Name: s.Key(), Record: lease.Record{BackendType: "vxlan"}}}
	k.own.PublicIP, k.own.BackendData = m.node.Public, k.add("flannel.1", 1450, m.node.Public, s.IPv4)
	if s.IPv6.IsValid() {
		k.own.PublicIPv6, k.own.BackendV6Data = m.node.Public6, k.add("flannel-v6.1", 1430, m.node.Public6, s.IPv6)
	}
	return k
}

// add makes one device and returns what the lease says of it.
func (k *kernelPeer) add(name string, mtu int, public netip.Addr, s netip.Prefix) []byte {
	k.t.Helper()
	check(k.t, k.AddKernelVXLAN(lab.VXLAN{Name: name, ID: 1, Local: public, Dev: "eth0", MTU: mtu, NoLearning: true}))
	check(k.t, k.AddAddr(name, netip.PrefixFrom(s.Addr(), s.Addr().BitLen())))
	check(k.t, k.SetUp(name))
	return lease.VXLAN{VNI: 1, VtepMAC: [6]byte(k.device(name).MAC)}.Encode()
}

// meet programs peers as flannel's handleSubnetEvents does: a neighbour, an FDB
// entry and a route for each.
func (k *kernelPeer) meet(t *testing.T, peers ...lease.Lease) {
	t.Helper()
	for _, p := range peers {
		k.meetOne(t, "flannel.1", p.PublicIP, p.IPv4, p.BackendData)
		if p.IPv6.IsValid() {
			k.meetOne(t, "flannel-v6.1", p.PublicIPv6, p.IPv6, p.BackendV6Data)
		}
	}
}

func (k *kernelPeer) meetOne(t *testing.T, dev string, public netip.Addr, s netip.Prefix, data []byte) {
	t.Helper()
	v, err := lease.ParseVXLAN(data)
	check(t, err)
	mac := net.HardwareAddr(v.VtepMAC[:])
	check(t, k.AddNeighbour(dev, s.Addr(), mac))
	check(t, k.ChangeFDB(lab.FDBReplace, lab.FDBEntry{MAC: mac, Dev: dev, Dst: public}))
	check(t, k.addOnlink(dev, s))
}

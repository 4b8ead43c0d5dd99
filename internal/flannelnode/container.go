//go:build linux

package flannelnode

import (
	"errors"
	"net/netip"

	"github.com/weftnet/weft/internal/flannel/subnetenv"
	"github.com/weftnet/weft/internal/lab"
)

// Bridge is that of the containers.
const Bridge = "docker0"

// Attach makes the host c a container of the node as docker would: behind a
// bridge with the first address of the node's subnet. It returns the address
// that c has then.
func (n *Node) Attach(c *lab.Host) (netip.Addr, error) {
	f, err := n.File()
	if err != nil {
		return netip.Addr{}, err
	}
	own := gateway(f).Next()
	return own, n.AttachAt(c, own)
}

// AttachAt makes c a container with an address of the node's subnet.
func (n *Node) AttachAt(c *lab.Host, own netip.Addr) error {
	f, err := n.File()
	if err != nil {
		return err
	}
	if _, err := n.Device(Bridge); err != nil {
		if err := errors.Join(n.AddBridge(Bridge), n.AddAddr(Bridge, netip.PrefixFrom(gateway(f), f.Subnet.Bits()))); err != nil {
			return err
		}
	}
	err = lab.Connect(lab.Port{Host: n.Host, Dev: "veth0", MTU: f.MTU}, lab.Port{Host: c, MTU: f.MTU, Addrs: []netip.Prefix{netip.PrefixFrom(own, f.Subnet.Bits())}})
	if err != nil {
		return err
	}
	err = n.SetMaster(Bridge, "veth0")
	return errors.Join(err, c.AddRoute(netip.PrefixFrom(netip.IPv4Unspecified(), 0), "eth0", gateway(f)))
}

// gateway is the bridge's address.
func gateway(f subnetenv.File) netip.Addr { return f.Subnet.Addr().Next() }

package vxlan

import (
	"encoding/json"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
)

// family is what differs between the two devices of a network of both families.
// Packets of either travel in datagrams of their own.
type family struct {
	number   int // AF_INET or AF_INET6
	sysctl   string
	prefix   string // of the device's name
	overhead int    // bytes that go from the underlay's MTU
	metric   int    // of routes that are made without one

	network func(*netconf.Config) netconf.Range
	node    func(*backend.Node) (own, public netip.Addr)
	subnet  func(lease.Subnet) netip.Prefix
	remote  func(*lease.Record) (public netip.Addr, data json.RawMessage)
	tell    func(*lease.Record, *overlay)
}

var families = []family{
	{
		number: unix.AF_INET, sysctl: "ipv4", prefix: "flannel.", overhead: 50,
		network: func(c *netconf.Config) netconf.Range { return c.IPv4 },
		node:    func(n *backend.Node) (own, public netip.Addr) { return n.Addr, n.Public },
		subnet:  func(s lease.Subnet) netip.Prefix { return s.IPv4 },
		remote:  func(r *lease.Record) (netip.Addr, json.RawMessage) { return r.PublicIP, r.BackendData },
		tell: func(r *lease.Record, o *overlay) {
			r.PublicIP, r.BackendData = o.public, lease.VXLAN{VNI: o.vni, VtepMAC: o.mac}.Encode()
		},
	},
	{
		number: unix.AF_INET6, sysctl: "ipv6", prefix: "flannel-v6.", overhead: 70, metric: 1024,
		network: func(c *netconf.Config) netconf.Range { return c.IPv6 },
		node:    func(n *backend.Node) (own, public netip.Addr) { return n.Addr6, n.Public6 },
		subnet:  func(s lease.Subnet) netip.Prefix { return s.IPv6 },
		remote:  func(r *lease.Record) (netip.Addr, json.RawMessage) { return r.PublicIPv6, r.BackendV6Data },
		tell: func(r *lease.Record, o *overlay) {
			r.PublicIPv6, r.BackendV6Data = o.public, lease.VXLAN{VNI: o.vni, VtepMAC: o.mac}.Encode()
		},
	},
}

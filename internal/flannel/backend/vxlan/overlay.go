package vxlan

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/internal/flannel/backend/entries"
	"github.com/weftnet/weft/internal/flannel/backend/userlink"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/routetable"
)

// overlay is the device of one address family and what is programmed on it.
type overlay struct {
	family
	want
	log     *zap.Logger
	daemon  *userlink.Daemon
	allowed Datapath
	all     netip.Prefix // the overlay's addresses
	public  netip.Addr   // what the lease says

	datapath datapath // once prepared
	mac      routetable.MAC
	index    int          // of the device as it was last seen
	own      netip.Prefix // once started
	watch    *device.Watch

	peers      map[string]peer // by the names of their leases
	fdb        *entries.Table[routetable.MAC, netip.Addr]
	neighbours *entries.Table[netip.Addr, routetable.MAC]
	routes     *entries.Table[netip.Prefix, way]
	filled     bool // the peers are known: what is not theirs is stale
	unread     bool // what is there may be otherwise than the tables have it

	direct
}

// want is what a device is made with.
type want struct {
	name     string
	vni      uint32
	port     uint16
	dev      string
	local    netip.Addr // outer source
	mtu      int
	learning bool
	gbp      bool
}

func newOverlay(f family, node backend.Node, cfg *netconf.Config, opt Options) *overlay {
	c := cfg.Backend.(*netconf.VXLAN)
	own, public := f.node(&node)
	o := &overlay{
		family: f, log: opt.Log, daemon: opt.Daemon, allowed: opt.Datapath,
		all: f.network(cfg).Network, public: public,
		want: want{
			name: fmt.Sprint(f.prefix, c.VNI), vni: c.VNI, port: c.Port, dev: node.Interface,
			local: own, mtu: node.MTU - f.overhead, learning: c.Learning, gbp: c.GBP,
		},
		peers:      map[string]peer{},
		fdb:        entries.New[routetable.MAC, netip.Addr](),
		neighbours: entries.New[netip.Addr, routetable.MAC](),
		routes:     entries.New[netip.Prefix, way](),
		direct:     newDirect(f.network(cfg), c.DirectRouting),
	}
	if c.MTU != 0 { // the kernel's device takes no more than its underlay has
		o.mtu = min(c.MTU, node.MTU) - f.overhead
	}
	return o
}

// derivedMAC is the MAC of a device that has none from before: unicast, locally
// administered, and as much one of its own as the address that peers send to.
func (o *overlay) derivedMAC() routetable.MAC {
	sum := sha256.Sum256(fmt.Appendf(nil, "weft flannel vtep %d %v", o.vni, o.public))
	mac := routetable.MAC(sum[:6])
	mac[0] = mac[0]&^1 | 2
	return mac
}

// setLocal chooses the source of outer packets: the public address, which
// peers with learning want to see, unless it is that of a NAT in front.
func (o *overlay) setLocal() error {
	if !o.local.IsValid() || !o.public.IsValid() {
		return fmt.Errorf("the network has IP%s, and %s has no such address", o.sysctl[2:], o.dev)
	}
	held, err := device.Holds(o.public)
	if held {
		o.local = o.public
	}
	return err
}

// clean deletes the device if it is one of ours, and the routes past it.
func (o *overlay) clean(ctx context.Context) error {
	return errors.Join(o.cleanDevice(ctx), o.cleanDirect())
}

func (o *overlay) cleanDevice(ctx context.Context) error {
	l, err := device.Find(o.name)
	if l == nil {
		return err
	}
	if info, err := o.daemon.Link(ctx, o.name); info != nil || err != nil {
		if err != nil {
			return err
		}
		return o.daemon.Remove(ctx, o.name)
	}
	if !isVXLAN(l, o.vni) {
		return nil
	}
	return device.Delete(o.name)
}

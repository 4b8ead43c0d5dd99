package vxlan

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/routetable"
)

// peer is a node as one overlay reaches it.
type peer struct {
	subnet netip.Prefix
	public netip.Addr
	mac    routetable.MAC
}

// base is the address of the peer's device.
func (p *peer) base() netip.Addr { return p.subnet.Addr() }

// read returns what the lease says of its node in this overlay, or nil if that
// is not in it.
func (o *overlay) read(l *lease.Lease) (*peer, error) {
	subnet := o.subnet(l.Subnet)
	if l.BackendType != netconf.TypeVXLAN || !subnet.IsValid() {
		return nil, nil
	}
	public, data := o.remote(&l.Record)
	v, err := lease.ParseVXLAN(data)
	if err != nil {
		return nil, err
	}
	switch {
	case !public.IsValid():
		return nil, errors.New("the lease does not say at which address its node is reached")
	case v.VtepMAC[0]&1 != 0 || v.VtepMAC == routetable.MAC{}:
		return nil, fmt.Errorf("the lease's VtepMAC %v is not that of a device", v.VtepMAC)
	case v.VtepMAC == o.mac:
		return nil, fmt.Errorf("the lease's VtepMAC %v is this node's own", v.VtepMAC)
	case subnet.Contains(o.local), subnet.Contains(public):
		// To route it would take the way to the peers away, and with it the host
		// from its network.
		return nil, fmt.Errorf("its subnet %v has addresses of the underlay in it", subnet)
	}
	if err := backend.Apart(o.own, subnet); err != nil {
		return nil, err
	}
	return &peer{subnet.Masked(), public, v.VtepMAC}, nil
}

// set wants a peer.
func (o *overlay) set(name string, p peer) {
	old, known := o.peers[name]
	if known && old == p {
		return
	}
	if known {
		o.release(name, old)
	}
	o.peers[name] = p
	o.claim(name)
}

// unset does not want it any more.
func (o *overlay) unset(name string) {
	if old, known := o.peers[name]; known {
		o.release(name, old)
		delete(o.peers, name)
	}
}

// claim wants what leads to a peer, once the way there is decided on. What two
// peers have in common, or one had before, is not touched in between.
func (o *overlay) claim(name string) { o.undecided[name] = struct{}{} }

func (o *overlay) release(name string, p peer) {
	delete(o.ways, name)
	o.drop(name, p)
	o.routes.Release(name, p.subnet)
}

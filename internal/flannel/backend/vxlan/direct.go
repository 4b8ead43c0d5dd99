package vxlan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/hostroutes"
	"github.com/weftnet/weft/internal/flannel/netconf"
)

// way is where a route to a peer's subnet leads: to its base, through the
// overlay's device, or past that to the peer's public address.
type way struct {
	via               netip.Addr
	hostroutes.Device // the zero Device for the overlay's own
}

// direct is what an overlay knows of peers on wires of this host, whose packets
// go as they are with DirectRouting.
type direct struct {
	routing bool
	subnets netconf.Range
	purged  bool // no routes are left of a process with other peers

	undecided map[string]struct{}  // peers that are new, or may have come near or gone
	ways      map[string]way       // of the others
	carried   map[string]time.Time // peers that the device serves; if they came near, since when
}

func newDirect(subnets netconf.Range, routing bool) direct {
	return direct{
		routing: routing, subnets: subnets,
		undecided: map[string]struct{}{}, ways: map[string]way{}, carried: map[string]time.Time{},
	}
}

// linger is how long the device still takes packets to a peer that came near:
// some are in its queue.
const linger = time.Second

// decide finds out which peers are near, and wants one or the other way to
// them. The route to a peer changes in one step; what either way needs is there
// before, and goes after.
func (o *overlay) decide() error {
	near, err := o.adjacent()
	// In order, so that of peers that want the same each time the same one has it.
	for _, name := range slices.Sorted(maps.Keys(o.undecided)) {
		p, wanted := o.peers[name]
		if !wanted {
			continue
		}
		w := way{via: p.base()}
		if at, adjacent := near[p.public]; adjacent && at.Index != o.index {
			w = way{p.public, at}
		}
		if o.ways[name] != w {
			o.turn(name, &p, w)
		}
	}
	clear(o.undecided)
	for name, since := range o.carried {
		if !since.IsZero() && time.Since(since) >= linger {
			o.drop(name, o.peers[name])
		}
	}
	return err
}

// turn wants another way to a peer.
func (o *overlay) turn(name string, p *peer, w way) {
	o.ways[name] = w
	o.routes.Claim(name, p.subnet, w)
	if o.routing {
		o.log.Info("way to a peer", zap.String("peer", name), zap.String("route", fmt.Sprint(p.subnet, " ", o.describe(w))))
	}
	switch since, carried := o.carried[name]; {
	case w.Index == 0:
		o.carried[name] = time.Time{}
		o.fdb.Claim(name, p.mac, p.public)
		o.neighbours.Claim(name, p.base(), p.mac)
	case carried && since.IsZero():
		o.carried[name] = time.Now()
	}
}

func (o *overlay) adjacent() (map[netip.Addr]hostroutes.Device, error) {
	if !o.routing || len(o.undecided) == 0 {
		return nil, nil
	}
	addrs := make([]netip.Addr, 0, len(o.undecided))
	for name := range o.undecided {
		if p, wanted := o.peers[name]; wanted {
			addrs = append(addrs, p.public)
		}
	}
	return hostroutes.Adjacent(addrs...)
}

// drop has the device no longer serve it.
func (o *overlay) drop(name string, p peer) {
	delete(o.carried, name)
	o.fdb.Release(name, p.mac)
	o.neighbours.Release(name, p.base())
}

// lookAtDirect finds routes past the device: those that peers want, and those
// that are left.
func (o *overlay) lookAtDirect() (map[netip.Prefix]way, error) {
	found := map[netip.Prefix]way{}
	if !o.routing && o.purged {
		return found, nil
	}
	all, err := o.pastDevice()
	for _, r := range all {
		if _, wanted := o.routes.Wanted(r.Dst); wanted || !r.Router {
			found[r.Dst] = way{r.Gateway, hostroutes.Device{Name: r.Device, Index: r.Index}}
		}
	}
	o.purged = err == nil
	return found, err
}

func (o *overlay) pastDevice() ([]hostroutes.Found, error) {
	all, err := hostroutes.Like(func(dst netip.Prefix) bool {
		_, wanted := o.routes.Wanted(dst)
		return wanted || o.subnets.Enabled() && o.subnets.Allows(dst)
	})
	return slices.DeleteFunc(all, func(r hostroutes.Found) bool { return r.Index == o.index }), err
}

// cleanDirect takes the routes past the device away.
func (o *overlay) cleanDirect() error {
	all, err := o.pastDevice()
	for _, r := range all {
		if !r.Router {
			err = errors.Join(err, unlessGone(netlink.RouteDel(o.netlinkRoute(route{
				Key: r.Dst, Value: way{r.Gateway, hostroutes.Device{Name: r.Device, Index: r.Index}},
			}))))
		}
	}
	return err
}

func (o *overlay) describe(w way) string {
	if w.Index == 0 {
		return fmt.Sprintf("via %v dev %s onlink", w.via, o.name)
	}
	return fmt.Sprintf("via %v dev %s", w.via, w.Name)
}

// pace is the least time between two signs of changed routes. What comes
// meanwhile waits in the kernel.
const pace = 100 * time.Millisecond

// watchRoutes gives signs, until ctx ends, when somebody takes a route to a peer
// away or puts another there, and when peers may have come near or gone.
func (b *Backend) watchRoutes(ctx context.Context, signs chan<- struct{}) error {
	w, err := hostroutes.NewWatch()
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, w.Close)
	go func() {
		for {
			c, err := w.Next()
			if err != nil {
				if ctx.Err() == nil {
					b.log.Warn("changes of routes are not seen when they happen any more, but at the next look", zap.Error(err))
				}
				return
			}
			if !b.concerns(c) {
				continue
			}
			select {
			case signs <- struct{}{}:
			default: // one waits already
			}
			select {
			case <-ctx.Done():
			case <-time.After(pace):
			}
		}
	}()
	return nil
}

func (b *Backend) concerns(c hostroutes.Change) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.overlays, func(o *overlay) bool { return o.concerns(c) })
}

// concerns reports whether a change may have to do with routes to peers. What
// this process does has not.
func (o *overlay) concerns(c hostroutes.Change) bool {
	for _, r := range c.Routes {
		want, wanted := o.routes.Wanted(r.Dst)
		index := want.Index
		if index == 0 {
			index = o.index
		}
		switch {
		case wanted && (r.Gone || r.Via != want.via || r.Index != index):
			return true
		case !wanted && o.routing && r.Dst.Addr().Is4() == o.public.Is4() && r.Leads() && !o.subnets.Allows(r.Dst):
			return true
		}
	}
	return c.All || o.routing && o.uses(c.Devices)
}

// uses reports whether peers are reached through one of these devices, past
// the overlay's own: IPv4 routes go with a device without a word.
func (o *overlay) uses(devices []int) bool {
	if len(devices) == 0 {
		return false
	}
	for _, w := range o.ways {
		if w.Index != 0 && slices.Contains(devices, w.Index) {
			return true
		}
	}
	return false
}

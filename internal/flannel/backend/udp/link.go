package udp

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/internal/flannel/dump"
)

// named is what flannel calls its TUN devices: flannel0, or the next one that
// is free where another network of the host has that.
var named = regexp.MustCompile(`^flannel[0-9]+$`)

func (b *Backend) config() dataplane.LinkConfig {
	return dataplane.LinkConfig{
		Name: b.name, Type: dataplane.TypeUDP, Local: b.node.Addr, Dev: b.node.Interface, Port: b.port, MTU: b.mtu(),
	}
}

// agrees reports whether a link is as wanted, but for what can be changed while
// packets pass.
func (b *Backend) agrees(l *dataplane.LinkInfo) bool {
	w := b.config()
	return l.Type == w.Type && l.Local == w.Local && l.Dev == w.Dev && l.Port == w.Port && len(l.AllowSources) == 0
}

// owns reports whether a link is this network's: it has the network's port, or
// an address in the network. One that has none yet may be another network's, whose
// agent waits for its subnet.
func (b *Backend) owns(l *dataplane.LinkInfo) (bool, error) {
	if l.Type != dataplane.TypeUDP || !named.MatchString(l.Name) {
		return false, nil
	}
	if l.Port == b.port {
		return true, nil
	}
	addrs, err := device.Addresses(l.Name, unix.AF_INET)
	if err != nil {
		return false, err
	}
	for _, p := range addrs {
		if b.network.Contains(p.Addr()) {
			return true, nil
		}
	}
	return false, nil
}

// prepare takes over the link that is there, if it is as wanted, or makes one.
func (b *Backend) prepare(ctx context.Context) error {
	links, err := b.daemon.Links(ctx)
	if err != nil {
		return err
	}
	for i := range links {
		ours, err := b.owns(&links[i])
		if err != nil {
			return err
		}
		if !ours {
			continue
		}
		if b.agrees(&links[i]) {
			b.name = links[i].Name
			b.log.Info("device is taken over", zap.String("device", b.name))
			return b.finish()
		}
		b.log.Info("device is not as the config has it: replacing it", zap.String("device", links[i].Name))
		if err := b.daemon.Remove(ctx, links[i].Name); err != nil {
			return err
		}
	}
	if b.name, err = freeName(); err != nil {
		return err
	}
	if err := b.daemon.Add(ctx, b.config()); err != nil {
		return err
	}
	b.log.Info("device is made", zap.String("device", b.name), zap.Uint16("port", b.port))
	return b.finish()
}

// finish gives a device that was made or taken over what the config says.
func (b *Backend) finish() error {
	if _, err := b.adjust(); err != nil {
		return err
	}
	l, err := netlink.LinkByName(b.name)
	if err != nil {
		return err
	}
	return device.SetMTU(l, b.mtu())
}

func freeName() (string, error) {
	for i := 0; ; i++ {
		name := fmt.Sprint("flannel", i)
		if l, err := device.Find(name); l == nil {
			return name, err
		}
	}
}

// adjust gives the device what it may have lost, and says what that was. The
// MTU is not looked at: who lowers it by hand has reasons.
func (b *Backend) adjust() (done []string, err error) {
	l, err := netlink.LinkByName(b.name)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", b.name, err)
	}
	b.index = l.Attrs().Index
	if b.watch != nil {
		b.watch.Index.Store(int32(b.index))
	}
	down, err := device.BringUp(l)
	if down {
		done = append(done, "was down")
	}
	if err != nil || !b.own.IsValid() {
		return done, err
	}
	missing, err := device.SetAddress(l, b.own.Addr(), b.network)
	if missing {
		done = append(done, "had other addresses")
	}
	if err != nil {
		return done, err
	}
	missing, err = b.route(l)
	if missing {
		done = append(done, "had not the network's route")
	}
	return done, err
}

// route makes the network's route, and reports whether it was missing. The
// kernel has none by itself, since the address is one of a single host.
func (b *Backend) route(l netlink.Link) (missing bool, err error) {
	err = netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_UNIVERSE, Dst: device.IPNet(b.network)})
	switch {
	case err == nil:
		b.others = false
		return true, nil
	case errors.Is(err, unix.EEXIST):
		return false, b.lookAtRoute(l)
	}
	return true, fmt.Errorf("route %v dev %s: %w", b.network, b.name, err)
}

// lookAtRoute says once if it is another device that has the network's route.
func (b *Backend) lookAtRoute(l netlink.Link) error {
	filter := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: device.IPNet(b.network), Table: unix.RT_TABLE_MAIN}
	found, err := dump.Consistent(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(unix.AF_INET, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("read the routes of %s: %w", b.name, err)
	}
	for i := range found {
		if device.Prefix(found[i].Dst) == b.network {
			b.others = false
			return nil
		}
	}
	if !b.others {
		b.log.Warn("the route to the network is another device's, so packets to the peers go there: delete it", zap.Stringer("network", b.network))
	}
	b.others = true
	return nil
}

// keep makes the device again if it is gone, and gives it back what somebody
// took from it.
func (b *Backend) keep(ctx context.Context) error {
	l, err := device.Find(b.name)
	if err != nil {
		return err
	}
	info, err := b.daemon.Link(ctx, b.name)
	if err != nil {
		return err
	}
	if l == nil || info == nil || !b.agrees(info) {
		return b.renew(ctx, l)
	}
	done, err := b.adjust()
	if len(done) > 0 {
		b.log.Warn("device was changed by somebody: mended", zap.String("device", b.name), zap.Strings("it", done))
	}
	return err
}

func (b *Backend) renew(ctx context.Context, l netlink.Link) error {
	if b.watch != nil {
		b.watch.Index.Store(0)
	}
	why := "was deleted"
	if l != nil {
		why = "was replaced by another one"
		if err := b.daemon.Remove(ctx, b.name); err != nil {
			return err
		}
		if err := device.Delete(b.name); err != nil {
			return err
		}
	}
	b.daemon.Await(ctx)
	if err := b.daemon.Add(ctx, b.config()); err != nil {
		return fmt.Errorf("it %s, and could not be made again: %w", why, err)
	}
	b.log.Warn("device "+why+": made again", zap.String("device", b.name))
	return b.finish()
}

package vxlan

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/routetable"
)

// prepare takes the device over that is there, if it is as wanted, or makes
// one in its place.
func (o *overlay) prepare(ctx context.Context) error {
	if err := o.setLocal(); err != nil {
		return err
	}
	l, err := device.Find(o.name)
	if err != nil {
		return err
	}
	mac := o.derivedMAC()
	if l != nil {
		if have := l.Attrs().HardwareAddr; len(have) == len(mac) && have[0]&1 == 0 {
			mac = routetable.MAC(have)
		}
	}
	o.mac = mac
	if took, err := o.takeOver(ctx, l); took || err != nil {
		return err
	}
	if l != nil {
		o.log.Info("device is not as the config has it: replacing it", zap.String("device", o.name), zap.String("type", l.Type()))
		if err := o.discard(ctx); err != nil {
			return err
		}
	}
	if err := o.choose(ctx); err != nil {
		return err
	}
	return o.finish()
}

// finish gives a device that was made or taken over what the config says.
func (o *overlay) finish() error {
	if _, err := o.adjust(); err != nil {
		return err
	}
	l, err := netlink.LinkByName(o.name)
	if err != nil {
		return err
	}
	return device.SetMTU(l, o.mtu)
}

// takeOver reports whether a device is as wanted; then it is kept.
func (o *overlay) takeOver(ctx context.Context, l netlink.Link) (bool, error) {
	if l == nil {
		return false, nil
	}
	for _, d := range o.datapaths() {
		ok, err := d.agrees(ctx, l)
		if err != nil {
			return false, err
		}
		if ok {
			o.datapath = d
			o.log.Info("device is taken over", zap.String("device", o.name), zap.String("datapath", string(d.kind())))
			return true, o.finish()
		}
	}
	return false, nil
}

// datapaths are those that may be used, the better one first.
func (o *overlay) datapaths() []datapath {
	kernel, user := kernelDevice{&o.want}, userDevice{&o.want, o.daemon}
	switch o.allowed {
	case Kernel:
		return []datapath{kernel}
	case User:
		return []datapath{user}
	}
	return []datapath{kernel, user}
}

// choose makes the device by the first datapath that can.
func (o *overlay) choose(ctx context.Context) error {
	var errs []error
	for _, d := range o.datapaths() {
		err := d.create(ctx, o.mac)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		o.datapath = d
		fields := []zap.Field{zap.String("device", o.name), zap.String("datapath", string(d.kind())), zap.Stringer("mac", o.mac)}
		if len(errs) > 0 {
			fields = append(fields, zap.NamedError("because", errors.Join(errs...)))
		}
		o.log.Info("device is made", fields...)
		return nil
	}
	return errors.Join(errs...)
}

// discard deletes the device, by whoever holds it.
func (o *overlay) discard(ctx context.Context) error {
	if err := o.daemon.Remove(ctx, o.name); err != nil {
		return err
	}
	return device.Delete(o.name)
}

// adjust gives the device what it may have lost without its packets noticing,
// and says what that was. The MTU is not looked at: who lowers it by hand has
// reasons.
func (o *overlay) adjust() (done []string, err error) {
	l, err := netlink.LinkByName(o.name)
	if err != nil {
		return nil, err
	}
	o.index = l.Attrs().Index
	if o.watch != nil {
		o.watch.Index.Store(int32(o.index))
	}
	if have := l.Attrs().HardwareAddr; have.String() != o.mac.String() {
		if err := netlink.LinkSetHardwareAddr(l, net.HardwareAddr(o.mac[:])); err != nil {
			return nil, fmt.Errorf("set the MAC to %v, which the lease tells the peers: %w", o.mac, err)
		}
		done = append(done, fmt.Sprintf("had the MAC %v", have))
	}
	if err := device.IgnoreAdvertisements(o.name); err != nil {
		return done, err
	}
	down, err := device.BringUp(l)
	if down {
		done = append(done, "was down")
	}
	if err != nil || !o.own.IsValid() {
		return done, err
	}
	missing, err := device.SetAddress(l, o.own.Addr(), o.all)
	if missing {
		done = append(done, "had other addresses")
	}
	return done, err
}

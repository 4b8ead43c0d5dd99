package vxlan

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend/device"
)

// Run keeps the devices, and what is programmed on them, until ctx ends.
func (b *Backend) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signs := make(chan struct{}, 1)
	b.mu.Lock()
	for _, o := range b.overlays {
		w, err := device.NewWatch(signs)
		if err != nil {
			b.mu.Unlock()
			return err
		}
		go w.Serve(ctx)
		o.watch = w
		w.Index.Store(int32(o.index))
	}
	b.mu.Unlock()
	if err := b.watchRoutes(ctx, signs); err != nil {
		return err
	}
	k := device.Keeper{Log: b.log, Signs: signs, Failed: b.retry, Check: b.check}
	return k.Run(ctx)
}

// check holds all against what is wanted. What is as it should be is not
// touched.
func (b *Backend) check(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, o := range b.overlays {
		if err := o.keep(ctx); err != nil {
			errs = append(errs, fmt.Errorf("device %s: %w", o.name, err))
			continue
		}
		o.unread = true
		errs = append(errs, o.program(ctx))
	}
	return errors.Join(errs...)
}

// keep makes the device again if it is gone, and gives it back what somebody
// took from it.
func (o *overlay) keep(ctx context.Context) error {
	l, err := device.Find(o.name)
	if err != nil {
		return err
	}
	why := "was deleted"
	if l != nil {
		ok, err := o.datapath.agrees(ctx, l)
		if err != nil {
			return err
		}
		if why = "was replaced by another one"; ok {
			why = ""
		}
	}
	if why != "" {
		return o.renew(ctx, l, why)
	}
	done, err := o.adjust()
	if len(done) > 0 {
		o.log.Warn("device was changed by somebody: mended", zap.String("device", o.name), zap.Strings("it", done))
	}
	return err
}

func (o *overlay) renew(ctx context.Context, l netlink.Link, why string) error {
	if o.watch != nil {
		o.watch.Index.Store(0)
	}
	if l != nil {
		if err := o.discard(ctx); err != nil {
			return err
		}
	}
	if err := o.datapath.recreate(ctx, o.mac); err != nil {
		return fmt.Errorf("it %s, and could not be made again: %w", why, err)
	}
	o.log.Warn("device "+why+": made again", zap.String("device", o.name), zap.Stringer("mac", o.mac))
	return o.finish()
}

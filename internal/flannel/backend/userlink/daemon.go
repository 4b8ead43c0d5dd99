// Package userlink has the daemon of the network namespace hold a link for a
// backend, and fill its tables. It speaks over the control socket alone, so
// that the link outlives whoever asked for it.
package userlink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// patience is how long the daemon may take for one request.
const patience = 30 * time.Second

// How long a daemon that has ended is waited for, and how often it is looked for. One
// that somebody runs in the foreground, as systemd does, is mostly started again;
// one in the background only if somebody adds a link just then.
const (
	restart      = 5 * time.Second
	comeback     = 500 * time.Millisecond
	pollInterval = 10 * time.Millisecond
)

// Daemon is the daemon of the caller's network namespace, whether it runs yet
// or not.
type Daemon struct {
	Dir control.RunDir

	// Start creates a link, and starts a daemon if there is none, as daemon.Add
	// does.
	Start func(context.Context, dataplane.LinkConfig) (control.Response, error)

	lasting atomic.Bool // the one that answered last is run by somebody
}

// Add creates a link.
func (d *Daemon) Add(ctx context.Context, cfg dataplane.LinkConfig) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := d.Start(ctx, cfg)
	return d.outcome(resp, err)
}

// Await waits a moment for a daemon that is being restarted. Who starts one in
// its place would keep it from its place.
func (d *Daemon) Await(ctx context.Context) {
	wait := comeback
	if d.lasting.Load() {
		wait = restart
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if conn, err := d.dial(ctx); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Link returns the link whose device has this name and is in the caller's
// namespace, or nil.
func (d *Daemon) Link(ctx context.Context, name string) (*dataplane.LinkInfo, error) {
	all, err := d.Links(ctx)
	i := slices.IndexFunc(all, func(l dataplane.LinkInfo) bool { return l.Name == name })
	if i < 0 {
		return nil, err
	}
	return &all[i], nil
}

// Links returns the links whose devices are in the caller's namespace. Without
// a daemon there are none.
func (d *Daemon) Links(ctx context.Context) ([]dataplane.LinkInfo, error) {
	netns, err := control.NetNS()
	if err != nil {
		return nil, err
	}
	resp, err := d.call(ctx, control.Request{Op: control.OpList})
	if control.Dead(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var here []dataplane.LinkInfo
	for _, l := range resp.Links {
		if l.Info.NetNS == netns {
			here = append(here, l.Info)
		}
	}
	return here, nil
}

// Remove deletes a link. One that is not there is as good.
func (d *Daemon) Remove(ctx context.Context, name string) error {
	l, err := d.Link(ctx, name)
	if l == nil {
		return err
	}
	_, err = d.call(ctx, control.Request{Op: control.OpDel, Name: name})
	if control.Dead(err) {
		return nil
	}
	return err
}

// call puts one request to the daemon. An error for which control.Dead holds
// says that there is none.
func (d *Daemon) call(ctx context.Context, req control.Request) (control.Response, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return control.Response{}, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := conn.Call(ctx, req)
	return resp, d.outcome(resp, err)
}

func (d *Daemon) dial(ctx context.Context) (*control.Conn, error) {
	netns, err := control.NetNS()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return control.Dial(ctx, d.Dir.Socket(netns))
}

// outcome notes who answered, if anybody did.
func (d *Daemon) outcome(resp control.Response, err error) error {
	if err == nil {
		d.lasting.Store(resp.Lasting)
	}
	return outcome(resp, err)
}

// outcome turns what the daemon refused into an error.
func outcome(resp control.Response, err error) error {
	switch {
	case control.Dead(err):
		return err
	case err != nil:
		return fmt.Errorf("the daemon: %w", err)
	case !resp.OK:
		return errors.New(resp.Error)
	}
	return nil
}

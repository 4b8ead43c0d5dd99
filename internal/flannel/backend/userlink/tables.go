package userlink

import (
	"context"
	"errors"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// Batch is how many changes go into one request.
const Batch = 256

// FDB hands the entries of a link to take.
func (d *Daemon) FDB(ctx context.Context, name string, take func(*dataplane.FDBEntry)) error {
	return d.dump(ctx, control.Request{Op: control.OpFDB, Name: name}, func(resp *control.Response) {
		for i := range resp.FDB {
			take(&resp.FDB[i])
		}
	})
}

// Routes hands the routes of a link to take.
func (d *Daemon) Routes(ctx context.Context, name string, take func(*dataplane.RouteEntry)) error {
	return d.dump(ctx, control.Request{Op: control.OpRoutes, Name: name}, func(resp *control.Response) {
		for i := range resp.Routes {
			take(&resp.Routes[i])
		}
	})
}

func (d *Daemon) dump(ctx context.Context, req control.Request, take func(*control.Response)) error {
	conn, err := d.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return conn.Stream(ctx, req, func(resp control.Response) error {
		if err := outcome(resp, nil); err != nil {
			return err
		}
		take(&resp)
		return nil
	})
}

// ChangeFDB carries out at most Batch changes. One that is refused keeps none
// of the others from being made: fail is told of it, by its place.
func (d *Daemon) ChangeFDB(ctx context.Context, name string, changes []dataplane.FDBChange, fail func(int, error)) {
	d.change(ctx, len(changes), fail, func(from int) control.Request {
		return control.Request{Op: control.OpChange, Name: name, Changes: changes[from:]}
	})
}

// ChangeRoutes does so with routes.
func (d *Daemon) ChangeRoutes(ctx context.Context, name string, changes []dataplane.RouteChange, fail func(int, error)) {
	d.change(ctx, len(changes), fail, func(from int) control.Request {
		return control.Request{Op: control.OpRouteChange, Name: name, Routes: changes[from:]}
	})
}

// change puts n changes to the daemon, which stops at each that it refuses.
// Without an answer none of the rest was made, as far as is known.
func (d *Daemon) change(ctx context.Context, n int, fail func(int, error), request func(from int) control.Request) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := d.dial(ctx)
	if err == nil {
		defer conn.Close()
	}
	for done := 0; done < n; {
		var resp control.Response
		if err == nil {
			resp, err = conn.Call(ctx, request(done))
		}
		if err != nil {
			for i := done; i < n; i++ {
				fail(i, outcome(resp, err))
			}
			return
		}
		if done += resp.Count; !resp.OK {
			fail(done, errors.New(resp.Error))
			done++
		}
	}
}

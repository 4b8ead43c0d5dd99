package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// Add has the daemon of the caller's network namespace create a link, and
// starts that daemon if there is none. An error means that there was no
// answer; a refusal is in the response.
func Add(ctx context.Context, dir control.RunDir, cfg dataplane.LinkConfig) (control.Response, error) {
	netns, err := control.NetNS()
	if err != nil {
		return control.Response{}, err
	}
	req := control.Request{Op: control.OpAdd, Link: &cfg}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		resp, err := addOnce(ctx, dir, netns, req)
		if !errors.Is(err, errHeld) {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return resp, fmt.Errorf("%w, process %s, but neither answers nor ends", err, holder(dir.Lock(netns)))
		case <-tick.C:
		}
	}
}

// addOnce asks the daemon that is there, or starts one. It returns errHeld
// while there is one that does not answer: it is about to listen, or to end.
func addOnce(ctx context.Context, dir control.RunDir, netns uint64, req control.Request) (control.Response, error) {
	resp, err := control.Call(ctx, dir.Socket(netns), req)
	switch {
	case err == nil && !resp.Closing:
		return resp, nil
	case err != nil && !control.Dead(err):
		return control.Response{}, fmt.Errorf("ask the daemon, process %s: %w", holder(dir.Lock(netns)), err)
	}
	created, err := dir.Create()
	if err != nil {
		return control.Response{}, err
	}
	resp, err = addByNew(ctx, dir, netns, req)
	if created && !resp.OK {
		_ = os.Remove(string(dir)) // fails, as it should, if others use it by now
	}
	return resp, err
}

// addByNew starts a daemon with req as its first request. One that does not
// get a link has ended when this returns.
func addByNew(ctx context.Context, dir control.RunDir, netns uint64, req control.Request) (control.Response, error) {
	owned, err := takeLock(dir.Lock(netns))
	if errors.Is(err, fs.ErrNotExist) {
		return control.Response{}, errHeld // another add has just removed the directory: look again
	}
	if err != nil {
		return control.Response{}, err
	}
	c, err := start(dir, netns, owned)
	if err != nil {
		owned.release(dir.Lock(netns))
		return control.Response{}, err
	}
	owned.file.Close() // the daemon has its own
	resp, err := c.conn.Call(ctx, req)
	c.conn.Close()
	if err == nil && !resp.Ending && !resp.Closing {
		return resp, c.process.Release()
	}
	c.wait(ctx)
	if control.Dead(err) {
		return resp, c.lastWords()
	}
	if resp.Closing {
		return resp, errHeld // somebody else's failure or signal ended it: start another
	}
	return resp, err
}

package daemon

import (
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/control"
)

var errClosing = errors.New("the daemon is on its way out; try again")

func (d *daemon[L]) handle(req control.Request) control.Response {
	resp := d.respond(req)
	resp.Lasting = d.lasting
	return resp
}

func (d *daemon[L]) respond(req control.Request) control.Response {
	switch req.Op {
	case control.OpAdd:
		return d.add(req)
	case control.OpDel:
		return d.del(req)
	case control.OpSet:
		return d.set(req)
	case control.OpChange:
		return d.change(req)
	case control.OpFlush:
		return d.flush(req)
	case control.OpRoute:
		return d.route(req)
	case control.OpRouteChange:
		return d.changeRoutes(req)
	case control.OpList:
		return control.Done(d.list(false)...)
	case control.OpStats:
		return control.Done(d.list(true)...)
	}
	var allowed []string
	for _, op := range control.Ops {
		allowed = append(allowed, string(op))
	}
	return control.Malformed(fmt.Errorf("request %q is unknown: allowed are %s", req.Op, strings.Join(allowed, ", ")))
}

func (d *daemon[L]) add(req control.Request) control.Response {
	if req.Link == nil {
		return control.Malformed(errors.New("request add names no link: `link` is missing"))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing {
		return closing()
	}
	added, err := d.links.AddLink(*req.Link)
	if err != nil {
		d.settle()
		resp := control.Failed(err)
		resp.Ending = d.closing
		return resp
	}
	d.served = true
	info := added.Info()
	d.log.Info("link added", zap.String("link", info.Name), zap.Uint32("vni", info.VNI), zap.Uint16("port", info.Port))
	return control.Done(control.Link{Info: info})
}

func (d *daemon[L]) del(req control.Request) control.Response {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing {
		return closing()
	}
	if err := d.links.RemoveLink(req.Name); err != nil {
		return control.Failed(err)
	}
	d.log.Info("link removed", zap.String("link", req.Name))
	d.settle()
	return control.Done()
}

func (d *daemon[L]) list(withStats bool) []control.Link {
	var all []control.Link
	for _, l := range d.links.Links() {
		one := control.Link{Info: l.Info()}
		if withStats {
			stats := l.Stats()
			one.Stats = &stats
		}
		all = append(all, one)
	}
	return all
}

func closing() control.Response {
	resp := control.Failed(errClosing)
	resp.Closing = true
	return resp
}

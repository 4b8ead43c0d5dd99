package daemon

import (
	"errors"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// routes tells all routes of a link.
func (d *daemon[L]) routes(x *control.Exchange) control.Response {
	l, err := d.named(&x.Request)
	if err != nil {
		return control.Failed(err)
	}
	all, err := l.Routes()
	if err != nil {
		return control.Failed(err)
	}
	return inParts(x, all, func(r *control.Response, part []dataplane.RouteEntry) { r.Routes = part })
}

// route tells which way packets to an address take.
func (d *daemon[L]) route(req control.Request) control.Response {
	if !req.To.IsValid() {
		return control.Malformed(errors.New("request route names no address: `to` is missing"))
	}
	l, err := d.named(&req)
	if err != nil {
		return control.Failed(err)
	}
	found, err := l.Route(req.To)
	if err != nil {
		return control.Failed(err)
	}
	resp := control.Done()
	resp.Routes = []dataplane.RouteEntry{found}
	return resp
}

// changeRoutes carries out changes up to the first that fails.
func (d *daemon[L]) changeRoutes(req control.Request) control.Response {
	l, err := d.named(&req)
	if err != nil {
		return control.Failed(err)
	}
	for i := range req.Routes {
		if err := l.ChangeRoute(&req.Routes[i]); err != nil {
			resp := control.Failed(err)
			resp.Count = i
			return resp
		}
	}
	resp := control.Done()
	resp.Count = len(req.Routes)
	return resp
}

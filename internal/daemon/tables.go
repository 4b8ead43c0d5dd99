package daemon

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// exchange answers one request: most by one response, dumps and events by many.
func (d *daemon[L]) exchange(x *control.Exchange) control.Response {
	switch x.Op {
	case control.OpFDB:
		return d.dump(x)
	case control.OpMonitor:
		return d.monitor(x)
	case control.OpRoutes:
		return d.routes(x)
	}
	return d.handle(x.Request)
}

// named returns the link that a request names.
func (d *daemon[L]) named(req *control.Request) (found L, err error) {
	for _, l := range d.links.Links() {
		if l.Info().Name == req.Name {
			return l, nil
		}
	}
	return found, fmt.Errorf("there is no link %q", req.Name)
}

func (d *daemon[L]) set(req control.Request) control.Response {
	if req.Set == nil {
		return control.Malformed(errors.New("request set says nothing: `set` is missing"))
	}
	l, err := d.named(&req)
	if err == nil {
		err = l.Change(req.Set)
	}
	if err != nil {
		return control.Failed(err)
	}
	return control.Done(control.Link{Info: l.Info()})
}

// change carries out changes up to the first that fails.
func (d *daemon[L]) change(req control.Request) control.Response {
	l, err := d.named(&req)
	if err != nil {
		return control.Failed(err)
	}
	for i := range req.Changes {
		if err := l.ChangeFDB(&req.Changes[i]); err != nil {
			resp := control.Failed(err)
			resp.Count = i
			return resp
		}
	}
	resp := control.Done()
	resp.Count = len(req.Changes)
	return resp
}

func (d *daemon[L]) flush(req control.Request) control.Response {
	filter := req.Flush
	if filter == nil {
		filter = &dataplane.FDBFilter{}
	}
	l, err := d.named(&req)
	if err != nil {
		return control.Failed(err)
	}
	n, err := l.FlushFDB(filter)
	if err != nil {
		return control.Failed(err)
	}
	if n >= largeFlush {
		go debug.FreeOSMemory()
	}
	resp := control.Done()
	resp.Count = n
	return resp
}

// largeFlush is how many entries leave so much memory behind, 10 MB, that it is
// worth the work to give it back at once. The runtime would by itself, minutes
// later.
const largeFlush = 100_000

// dumpLines is how many entries one line of a dump holds.
const dumpLines = 2048

func (d *daemon[L]) dump(x *control.Exchange) control.Response {
	l, err := d.named(&x.Request)
	if err != nil {
		return control.Failed(err)
	}
	entries, err := l.FDB()
	if err != nil {
		return control.Failed(err)
	}
	return inParts(x, entries, func(r *control.Response, part []dataplane.FDBEntry) { r.FDB = part })
}

// inParts answers with all that a dump tells, some of it at a time. The last
// part is what it returns.
func inParts[E any](x *control.Exchange, all iter.Seq[E], put func(*control.Response, []E)) control.Response {
	part := make([]E, 0, dumpLines)
	response := func() control.Response {
		r := control.Done()
		put(&r, part)
		return r
	}
	for e := range all {
		if part = append(part, e); len(part) < dumpLines {
			continue
		}
		if !x.Send(response()) {
			return control.Failed(errors.New("nobody reads the dump any more"))
		}
		part = part[:0]
	}
	return response()
}

// monitor tells what happens until the client hangs up.
func (d *daemon[L]) monitor(x *control.Exchange) control.Response {
	w := d.links.WatchFDB()
	defer w.Close()
	gone := x.HungUp()
	if !x.Send(control.Done()) { // from now on nothing is missed
		return control.Done()
	}
	for {
		select {
		case <-gone:
			return control.Done()
		case e := <-w.Events():
			if !x.Send(events(w, e)) {
				return control.Done()
			}
		}
	}
}

// events makes a response of an event and of those that wait behind it.
func events(w *dataplane.Watcher, first dataplane.FDBEvent) control.Response {
	resp := control.Done()
	resp.Events = append(resp.Events, first)
	for len(resp.Events) < dumpLines {
		select {
		case e := <-w.Events():
			resp.Events = append(resp.Events, e)
			continue
		default:
		}
		break
	}
	if lost := w.Lost(); lost > 0 {
		resp.Events = append(resp.Events, dataplane.FDBEvent{Kind: dataplane.EventLost, Lost: lost})
	}
	return resp
}

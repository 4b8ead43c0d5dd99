package cli

import (
	"slices"
	"strings"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// changes are those of one table of one link, in lines that followed one
// another: they are put to its daemon together.
type changes struct {
	fdb    []dataplane.FDBChange
	routes []dataplane.RouteChange
	lines  []int // of each of them
	dev    string
}

// maxWaiting bounds a request to well below what a daemon reads as one, 64 kB:
// no change is longer than 200 bytes.
const maxWaiting = 256

// lineChange is the change that a line is: one of the two.
type lineChange struct {
	dev   string
	fdb   *dataplane.FDBChange
	route *dataplane.RouteChange
}

func (w *changes) empty() bool { return len(w.lines) == 0 }

// takes reports whether a change can be put together with those that wait.
func (w *changes) takes(c *lineChange) bool {
	return c.dev == w.dev && (c.fdb != nil) == (len(w.fdb) > 0) && len(w.lines) < maxWaiting
}

func (w *changes) add(c *lineChange, line int) {
	w.dev, w.lines = c.dev, append(w.lines, line)
	if c.fdb != nil {
		w.fdb = append(w.fdb, *c.fdb)
	} else {
		w.routes = append(w.routes, *c.route)
	}
}

// put carries out the changes up to the first that fails, and returns how many
// were carried out.
func (w *changes) put() (int, error) {
	l, err := theLink(control.OpList, w.dev)
	switch {
	case err != nil:
		return 0, err
	case len(w.fdb) > 0:
		return changeFDB(&l, w.fdb)
	}
	return changeRoutes(&l, w.routes)
}

// forget removes the first n.
func (w *changes) forget(n int) {
	w.lines = slices.Delete(w.lines, 0, n)
	w.fdb = slices.Delete(w.fdb, 0, min(n, len(w.fdb)))
	w.routes = slices.Delete(w.routes, 0, min(n, len(w.routes)))
}

// changeOf reads a change of a table. What is no such change or is wrong is for
// the ordinary way.
func changeOf(words []string) (change *lineChange, ok bool) {
	if len(words) < 2 || slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") }) {
		return nil, false
	}
	op := words[1]
	if op == "delete" {
		op = "del"
	}
	switch words[0] {
	case "fdb":
		return fdbChangeOf(dataplane.FDBOp(op), words[2:])
	case "route":
		return routeChangeOf(dataplane.RouteOp(op), words[2:])
	}
	return nil, false
}

func fdbChangeOf(op dataplane.FDBOp, words []string) (change *lineChange, ok bool) {
	switch op {
	case dataplane.FDBAdd, dataplane.FDBAppend, dataplane.FDBReplace, dataplane.FDBDelete:
	default:
		return nil, false
	}
	w, err := readFDBChange(op, words)
	if err != nil {
		return nil, false
	}
	return &lineChange{dev: w.dev, fdb: &w.change}, true
}

func routeChangeOf(op dataplane.RouteOp, words []string) (change *lineChange, ok bool) {
	switch op {
	case dataplane.RouteAdd, dataplane.RouteReplace, dataplane.RouteDelete:
	default:
		return nil, false
	}
	w, err := readRouteChange(op, words)
	if err != nil {
		return nil, false
	}
	return &lineChange{dev: w.dev, route: &w.change}, true
}

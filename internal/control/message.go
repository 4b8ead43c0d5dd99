// Package control is the control socket: how `weft` commands and other
// programs of one machine talk to the daemons, each of which serves one
// network namespace. A request and its response are one JSON object per line
// over a Unix stream socket; a connection may carry several of them in turn.
package control

import (
	"net/netip"

	"github.com/weftnet/weft/dataplane"
)

// Version is the protocol's version. Both ends send theirs, so that a command
// of another release than the running daemon's is told so.
const Version = 1

// Op is what a request asks for.
type Op string

// The operations that a daemon answers.
const (
	OpAdd   Op = "add"   // create Request.Link
	OpDel   Op = "del"   // remove the link Request.Name
	OpSet   Op = "set"   // change the link Request.Name by Request.Set
	OpList  Op = "list"  // tell every link's configuration
	OpStats Op = "stats" // the same with every link's figures

	OpFDB     Op = "fdb"     // tell the entries of the link Request.Name, in several responses
	OpChange  Op = "change"  // carry out Request.Changes on the link Request.Name, up to the first that fails
	OpFlush   Op = "flush"   // remove what Request.Flush says from the link Request.Name
	OpMonitor Op = "monitor" // tell what happens to every link's entries until the client hangs up

	OpRoutes      Op = "routes"      // tell the routes of the link Request.Name, in several responses
	OpRoute       Op = "route"       // tell the route of that link for the address Request.To
	OpRouteChange Op = "routechange" // carry out Request.Routes on that link, up to the first that fails
)

// Ops lists them.
var Ops = []Op{OpAdd, OpDel, OpSet, OpList, OpStats, OpFDB, OpChange, OpFlush, OpMonitor, OpRoutes, OpRoute, OpRouteChange}

// Request is one question to a daemon.
type Request struct {
	Version int                   `json:"version"`
	Op      Op                    `json:"op"`
	Name    string                `json:"name,omitempty"`
	Link    *dataplane.LinkConfig `json:"link,omitempty"`
	Set     *dataplane.LinkChange `json:"set,omitempty"`
	Changes []dataplane.FDBChange `json:"changes,omitempty"`
	Flush   *dataplane.FDBFilter  `json:"flush,omitempty"`

	Routes []dataplane.RouteChange `json:"routes,omitempty"`
	To     netip.Addr              `json:"to,omitzero"`
}

// Response is its answer. Error is empty when OK is true.
type Response struct {
	Version int    `json:"version"`
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
	Usage   bool   `json:"usage,omitempty"`   // the request itself was wrong: exit status 2
	Closing bool   `json:"closing,omitempty"` // the daemon is on its way out: ask its successor
	Ending  bool   `json:"ending,omitempty"`  // refused, and the daemon ends for want of a link
	Lasting bool   `json:"lasting,omitempty"` // the daemon outlives its links: somebody runs it, and may start it again when it ends
	Links   []Link `json:"links,omitempty"`   // OpAdd and OpSet: that one; OpList and OpStats: all

	More   bool                 `json:"more,omitempty"`   // further responses to the same request follow
	FDB    []dataplane.FDBEntry `json:"fdb,omitempty"`    // OpFDB: newest first
	Events []dataplane.FDBEvent `json:"events,omitempty"` // OpMonitor
	Count  int                  `json:"count,omitempty"`  // OpFlush: entries removed; OpChange and OpRouteChange: changes carried out

	Routes []dataplane.RouteEntry `json:"routes,omitempty"` // OpRoutes: by prefix; OpRoute: that one
}

// Link is one link as its daemon sees it. Stats is nil unless asked for.
type Link struct {
	Info  dataplane.LinkInfo `json:"info"`
	Stats *dataplane.Stats   `json:"stats,omitempty"`
}

// Done is the response to a request that was carried out.
func Done(links ...Link) Response {
	return Response{Version: Version, OK: true, Links: links}
}

// Failed is the response to one that was not, for the reason err.
func Failed(err error) Response {
	return Response{Version: Version, Error: err.Error()}
}

// Malformed is the response to a request that could never be carried out.
func Malformed(err error) Response {
	return Response{Version: Version, Error: err.Error(), Usage: true}
}

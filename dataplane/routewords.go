package dataplane

import (
	"net/netip"

	"github.com/weftnet/weft/routetable"
)

// RouteEntry is one line of `weft route show`.
type RouteEntry struct {
	Prefix netip.Prefix   `json:"prefix"`
	Via    netip.Addr     `json:"via"`             // VTEP
	MAC    routetable.MAC `json:"lladdr,omitzero"` // of the peer's device; with L3 only
	VNI    uint32         `json:"vni,omitempty"`
	Port   uint16         `json:"port"`
}

// RouteOp says what a RouteChange does.
type RouteOp string

// The changes that `ip route` knows, as far as they make sense here.
const (
	RouteAdd     RouteOp = "add"
	RouteReplace RouteOp = "replace"
	RouteDelete  RouteOp = "del"
)

// RouteChange is one change to a link's routes. What is left out is the link's
// own; of a deletion it may be anything.
type RouteChange struct {
	Op     RouteOp        `json:"op"`
	Prefix netip.Prefix   `json:"prefix"`
	Via    netip.Addr     `json:"via,omitzero"`
	MAC    routetable.MAC `json:"lladdr,omitzero"`
	VNI    *uint32        `json:"vni,omitempty"`
	Port   uint16         `json:"port,omitempty"`
}

package dataplane

import (
	"net/netip"

	"github.com/weftnet/weft/routetable"
)

// FDBEntry is one line of `weft fdb show`: one remote of one address.
type FDBEntry struct {
	MAC         routetable.MAC `json:"mac"`
	Dst         netip.Addr     `json:"dst"`
	Port        uint16         `json:"port"`
	VNI         uint32         `json:"vni"`
	Via         string         `json:"via,omitempty"` // underlay device
	ViaIndex    int            `json:"via_index,omitempty"`
	State       string         `json:"state,omitempty"` // permanent, static, stale (aged out, in events only), "" = dynamic
	ExternLearn bool           `json:"extern_learn,omitempty"`
	Router      bool           `json:"router,omitempty"`
	Used        uint32         `json:"used"`    // seconds since a frame was sent by it
	Updated     uint32         `json:"updated"` // seconds since it was made or a frame came from there
}

// FDBOp says what an FDBChange does.
type FDBOp string

// The changes that `bridge fdb` knows.
const (
	FDBAdd     FDBOp = "add"
	FDBAppend  FDBOp = "append"
	FDBReplace FDBOp = "replace"
	FDBDelete  FDBOp = "del"
)

// FDBChange is one change to a link's forwarding database, in the words of
// `bridge fdb`. What is left out is the link's own.
type FDBChange struct {
	Op          FDBOp          `json:"op"`
	MAC         routetable.MAC `json:"mac"`
	Dst         netip.Addr     `json:"dst,omitzero"` // FDBDelete: the zero Addr = every remote
	Port        uint16         `json:"port,omitempty"`
	VNI         *uint32        `json:"vni,omitempty"`
	Via         string         `json:"via,omitempty"`
	State       string         `json:"state,omitempty"` // permanent (also ""), static, dynamic
	ExternLearn bool           `json:"extern_learn,omitempty"`
	Router      bool           `json:"router,omitempty"`
}

// FDBFilter says which entries `weft fdb flush` removes: those for which all
// that is given holds. The zero FDBFilter is for all.
type FDBFilter struct {
	VNI  *uint32    `json:"vni,omitempty"`
	Port *uint16    `json:"port,omitempty"`
	Dst  netip.Addr `json:"dst,omitzero"`

	// Words are permanent, static, dynamic, extern_learn and router, each also
	// with "no" in front, in the order in which they were given.
	Words []string `json:"words,omitempty"`
}

// FDBEvent is one line of `weft monitor`.
type FDBEvent struct {
	Kind    FDBEventKind `json:"kind"`
	Link    string       `json:"link"` // the device's name when it happened
	NetNS   uint64       `json:"netns"`
	Index   int          `json:"ifindex"`
	Entry   FDBEntry     `json:"entry"`         // of a miss only MAC counts
	Address netip.Addr   `json:"addr,omitzero"` // for which there is no neighbour entry
	Lost    uint64       `json:"lost,omitempty"`
}

// FDBEventKind says what happened.
type FDBEventKind string

// The kinds of events.
const (
	EventNew     FDBEventKind = "new"     // entry made or changed
	EventDeleted FDBEventKind = "deleted" // entry removed or aged out
	EventMiss    FDBEventKind = "miss"    // l2miss: no entry for a unicast destination
	EventIPMiss  FDBEventKind = "ipmiss"  // l3miss: no neighbour entry for an address
	EventLost    FDBEventKind = "lost"    // Lost events did not fit in the watcher's buffer
)

package dataplane

import (
	"sync/atomic"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// Link is one VXLAN link: a device, what its outer headers look like, and the
// table that says where its frames go. Its port's worker moves its packets.
type Link struct {
	cfg      LinkConfig
	devIndex int // of cfg.Dev, 0 without
	device   *tap.Device
	port     *port
	fdb      *routetable.FDB
	flow     underlay.Flow // what all datagrams of the link have in common
	pool     *underlay.Pool
	counters counters
	attrs    atomic.Pointer[attributes]
	stop     chan struct{} // closed when the link is removed

	// The worker's, between the reading of a batch and its writing.
	joined encap.Coalescer
	dirty  bool // joined holds frames
}

// attributes are what the system may change about the device at any time.
type attributes struct {
	name  string
	index int
	netns uint64 // inode
	mtu   int    // bytes of IP packet
	mac   routetable.MAC
}

// Config returns what the link was made with, defaults filled in.
func (l *Link) Config() LinkConfig { return l.cfg }

// Name returns what the device is called now.
func (l *Link) Name() string { return l.attrs.Load().name }

// mac returns the frame's address at offset at.
func macAt(frame []byte, at int) routetable.MAC { return routetable.MAC(frame[at : at+6]) }

package dataplane

import (
	"sync"
	"sync/atomic"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// Link is one link: a device, what its outer headers look like, and the table
// that says where its frames go. Its port's worker moves its packets.
type Link struct {
	vni    uint32
	ipv6   bool // the underlay is
	device *tap.Device
	port   *port
	pool   *underlay.Pool
	fdb    *routetable.FDB // nil if the link is routed
	routed *routed         // nil if it is not
	attrs  atomic.Pointer[attributes]
	set    atomic.Pointer[settings]
	stop   chan struct{} // closed when the link is removed
	aged   chan struct{} // asks for a sweep now

	counters counters
	watchers atomic.Pointer[[]*Watcher]

	changing sync.Mutex           // one Change at a time; held while group changes
	group    *underlay.Membership // nil without a multicast group

	neighbours *neighbours // nil without proxy

	// The worker's, between the reading of a batch and its writing.
	joined encap.Coalescer
	dirty  bool              // joined holds frames
	path   *underlay.PathMTU // nil if it cannot be asked
	head   int               // bytes of Ethernet header in front of what is received
	outer  int               // bytes that the outer headers take from the path's MTU
	short  *short            // nil without shortcuts
}

// settings are what may change about a link while it runs. They are replaced
// as a whole, so that a frame sees the old or the new ones.
type settings struct {
	cfg      LinkConfig
	devIndex int                  // of cfg.Dev, 0 without
	flow     underlay.Flow        // what all datagrams of the link have in common
	allowed  *routetable.Prefixes // nil = every source
}

// attributes are what the system may change about the device at any time.
type attributes struct {
	name   string
	index  int
	netns  uint64 // inode
	mtu    int    // bytes of IP packet
	mac    routetable.MAC
	up     bool
	bridge bool // the device is a port of a bridge
	noARP  bool // `arp off`

	queueLen int // packets that the device holds until they are read
}

// Config returns what the link is configured to do, defaults filled in.
func (l *Link) Config() LinkConfig { return l.set.Load().cfg }

// Name returns what the device is called now.
func (l *Link) Name() string { return l.attrs.Load().name }

// mac returns the frame's address at offset at.
func macAt(frame []byte, at int) routetable.MAC { return routetable.MAC(frame[at : at+6]) }

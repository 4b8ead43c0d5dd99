// Package routetable holds the tables that say where a frame goes: which VTEP
// is behind a MAC address. Tables are read by forwarding workers without a
// lock and changed by whoever manages the link.
package routetable

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
)

// MAC is an Ethernet address.
type MAC [6]byte

// String returns the address in colon form.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Remote is one place that frames are sent to.
type Remote struct {
	Addr    netip.Addr // of the remote VTEP, without zone
	Port    uint16     // UDP destination port
	VNI     uint32     // written into the header
	IfIndex int        // underlay device to leave by; 0 = what the route says
}

// FDB is the forwarding database of one link. The zero FDB is empty and sends
// nothing anywhere. All methods may be called at any time from any goroutine.
type FDB struct {
	fallback atomic.Pointer[[]Remote] // the entry of the all-zero MAC
}

// SetDefault replaces the remotes that frames for unknown, broadcast and
// multicast addresses go to: the entry of the all-zero MAC. Each of them gets
// a copy.
func (t *FDB) SetDefault(remotes ...Remote) {
	own := slices.Clone(remotes) // readers take no lock
	t.fallback.Store(&own)
}

// Lookup returns where a frame for dst goes; nil means nowhere. The result is
// shared and must not be changed.
func (t *FDB) Lookup(dst MAC) []Remote {
	// Every address is unknown as long as nothing is learnt or added.
	if remotes := t.fallback.Load(); remotes != nil {
		return *remotes
	}
	return nil
}

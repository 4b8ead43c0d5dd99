// Package routetable holds the tables that say where a frame goes: which VTEP
// is behind a MAC address, or an IP prefix. Tables are read by forwarding
// workers without a lock and changed by whoever manages the link.
package routetable

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"
)

// MAC is an Ethernet address.
type MAC [6]byte

// String returns the address in colon form.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// unicast reports whether the address belongs to one station: neither
// multicast nor all zero.
func (m MAC) unicast() bool { return m[0]&1 == 0 && m != MAC{} }

// Remote is one place that frames are sent to. Two remotes are the same if all
// four of its fields are.
type Remote struct {
	Addr    netip.Addr // of the remote VTEP, without zone
	Port    uint16     // UDP destination port
	VNI     uint32     // written into the header
	IfIndex int        // underlay device to leave by; 0 = what the route says
}

// Options are what an FDB is made with.
type Options struct {
	Learned Remote        // Port and VNI of learnt entries: the link's own, never the source port of a packet
	Limit   int           // most MACs, that of the default included; 0 = any number
	Ageing  time.Duration // how long a learnt entry lives without being received from; 0 = 300 s

	// Changes is counted up after each change of where frames go, for whoever
	// keeps the one remote that Lookup returned. Nil for a counter of the table's
	// own. Anybody can invent stations, so those that are learnt count only if
	// frames for them went to one other remote until then.
	Changes *atomic.Uint64
}

// FDB is the forwarding database of one link, with the semantics of the Linux
// kernel's vxlan device. All methods may be called at any time from any
// goroutine.
//
// Entries are spread over shards by a hash of their MAC. Who changes an entry
// holds the lock of its shard alone; Lookup, and Learn of what is known, take
// no lock.
type FDB struct {
	learned Remote
	limit   int64
	seed    hashSeed
	ageing  atomic.Uint32 // Ticks

	changes  *atomic.Uint64
	count    atomic.Int64  // MACs
	sequence atomic.Uint64 // of the newest entry
	watchers watchers
	sets     setCache

	// The last one holds the entry of the all-zero MAC alone, so that a frame
	// for an unknown address need not be hashed once more.
	shards [fallback + 1]shard
}

// NewFDB returns an empty table: frames go nowhere.
func NewFDB(o Options) *FDB {
	t := &FDB{
		learned: Remote{Port: o.Learned.Port, VNI: o.Learned.VNI},
		limit:   int64(o.Limit),
		seed:    newHashSeed(),
		changes: o.Changes,
	}
	if t.changes == nil {
		t.changes = new(atomic.Uint64)
	}
	t.SetAgeing(o.Ageing)
	return t
}

// Lookup returns where a frame for dst goes: to the remotes of dst's own
// entry, which multicast and broadcast addresses may have too, else to those
// of the all-zero MAC; nil means nowhere. The result is shared and must not be
// changed.
func (t *FDB) Lookup(dst MAC, now Tick) []Remote {
	key := keyOf(dst)
	hash := t.seed.hash(key)
	if found := t.shards[hash>>shardShift].find(key, hash); found != nil {
		if set := found.remotes.Load(); set != nil {
			found.markUsed(now)
			return set.list
		}
	}
	if found := t.shards[fallback].find(keyOf(MAC{}), 0); found != nil {
		if set := found.remotes.Load(); set != nil {
			found.markUsed(now)
			return set.list
		}
	}
	return nil
}

// Len returns how many MACs have an entry.
func (t *FDB) Len() int { return int(t.count.Load()) }

// Memory returns about how many bytes the tables take: all that grows with the
// number of entries, but for remotes that few entries share.
func (t *FDB) Memory() int {
	bytes := int(unsafe.Sizeof(*t))
	for i := range t.shards {
		if now := t.shards[i].table.Load(); now != nil {
			bytes += len(now.slots) * int(unsafe.Sizeof(slot{}))
		}
	}
	return bytes
}

// shardOf returns where the entry of key is, if there is one, and its hash.
func (t *FDB) shardOf(key uint64) (*shard, uint64) {
	if key == keyOf(MAC{}) {
		return &t.shards[fallback], 0
	}
	hash := t.seed.hash(key)
	return &t.shards[hash>>shardShift], hash
}

// present is set in the key of every MAC, so that no key is 0.
const present = 1 << 48

func keyOf(m MAC) uint64 {
	return uint64(binary.LittleEndian.Uint32(m[:4])) | uint64(binary.LittleEndian.Uint16(m[4:]))<<32 | present
}

func macOf(key uint64) (m MAC) {
	binary.LittleEndian.PutUint32(m[:4], uint32(key))
	binary.LittleEndian.PutUint16(m[4:], uint16(key>>32))
	return m
}

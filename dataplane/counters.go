package dataplane

import (
	"github.com/weftnet/weft/dataplane/internal/count"
	"github.com/weftnet/weft/encap"
)

// counters are a link's own figures. Only the worker of the link's port writes
// them.
type counters struct {
	rxPackets, rxBytes count.Counter
	txPackets, txBytes count.Counter
	ringed             count.Counter // frames that came by the ring
	drops              dropCounters
}

// dropCounters has a counter for each Reason.
type dropCounters [reasonCount]count.Counter

func (d *dropCounters) drop(why Reason)         { d[why].Add(1) }
func (d *dropCounters) dropN(why Reason, n int) { d[why].Add(uint64(n)) }
func (d *dropCounters) addTo(m map[string]uint64) {
	for r := range d {
		m[Reason(r).String()] += d[r].Load()
	}
}

// received counts what was written to the device: a super-frame that weft
// joined counts as the frames that arrived, each less the head bytes of its
// Ethernet header.
func (c *counters) received(f *encap.Coalesced, head int) {
	frames, bytes := f.Arrived()
	c.rxPackets.Add(uint64(frames))
	c.rxBytes.Add(uint64(bytes - frames*head))
}

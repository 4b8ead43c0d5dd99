// Package count has a counter for figures that one worker writes and others
// read: they never wait for each other.
package count

import "sync/atomic"

// Counter counts up. Only one goroutine may call Add; any may call Load.
type Counter struct {
	_ [0]atomic.Uint64 // aligns v on 32-bit machines, where the store needs that
	v uint64
}

// Add adds n.
func (c *Counter) Add(n uint64) { atomic.StoreUint64(&c.v, c.v+n) }

// Load returns the count so far.
func (c *Counter) Load() uint64 { return atomic.LoadUint64(&c.v) }

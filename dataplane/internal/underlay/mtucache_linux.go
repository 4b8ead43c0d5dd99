//go:build !portable

package underlay

import (
	"net/netip"
	"time"
)

const (
	// pathMTUAge is how long an answer counts. Routes and devices change, and
	// "fragmentation needed" comes back, without a word to this process.
	pathMTUAge = time.Second

	// pathMTUs bounds the answers that are kept. Beyond it all are forgotten at
	// once: they are soon had again, and so many remotes are few links'.
	pathMTUs = 1024
)

// path is what a route is looked up by.
type path struct {
	remote  netip.Addr
	ifIndex int
}

// knownMTU is the answer for a path. It stays where it is when it is renewed.
type knownMTU struct {
	mtu   int
	until time.Duration
}

// mtuCache keeps answers. ask gets new ones.
type mtuCache struct {
	ask   func(to path) int
	known map[path]*knownMTU

	last   path // asked for last, and the answer: most packets go where the one before went
	answer *knownMTU
}

func newMTUCache(ask func(to path) int) mtuCache {
	return mtuCache{ask: ask, known: map[path]*knownMTU{}, answer: &knownMTU{}}
}

func (c *mtuCache) of(to path, now time.Duration) int {
	if to != c.last {
		c.last, c.answer = to, c.find(to)
	}
	if now >= c.answer.until {
		c.answer.mtu, c.answer.until = c.ask(to), now+pathMTUAge
	}
	return c.answer.mtu
}

// find returns the entry of a path, a new one if need be, whose answer is not
// valid at any time.
func (c *mtuCache) find(to path) *knownMTU {
	if k := c.known[to]; k != nil {
		return k
	}
	if len(c.known) >= pathMTUs {
		clear(c.known)
	}
	k := &knownMTU{until: neverValid}
	c.known[to] = k
	return k
}

const neverValid = -1 << 63

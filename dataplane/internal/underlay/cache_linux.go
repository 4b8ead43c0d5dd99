//go:build !portable

package underlay

import (
	"net/netip"
	"time"
)

const (
	// answerAge is how long an answer counts. Routes and devices change, and
	// "fragmentation needed" comes back, without a word to this process.
	answerAge = time.Second

	// answers bounds those that are kept. Beyond it all are forgotten at once:
	// they are soon had again, and so many remotes are few links'.
	answers = 1024
)

// path is what a route is looked up by.
type path struct {
	remote  netip.Addr
	ifIndex int
}

// answer is what the system said. It stays where it is when it is renewed.
type answer[V any] struct {
	value V
	until time.Duration
}

// cache keeps answers. ask gets new ones.
type cache[K comparable, V any] struct {
	ask   func(K) V
	known map[K]*answer[V]

	last   K // asked for last, and the answer: most packets go where the one before went
	answer *answer[V]
}

func newCache[K comparable, V any](ask func(K) V) cache[K, V] {
	return cache[K, V]{ask: ask, known: map[K]*answer[V]{}, answer: &answer[V]{until: neverValid}}
}

// of returns an answer that is not too old, valid until the next call.
func (c *cache[K, V]) of(k K, now time.Duration) *V {
	if k != c.last {
		c.last, c.answer = k, c.find(k)
	}
	if now >= c.answer.until {
		c.answer.value, c.answer.until = c.ask(k), now+answerAge
	}
	return &c.answer.value
}

// find returns the entry of a key, a new one if need be, whose answer is not
// valid at any time.
func (c *cache[K, V]) find(k K) *answer[V] {
	if have := c.known[k]; have != nil {
		return have
	}
	if len(c.known) >= answers {
		clear(c.known)
	}
	a := &answer[V]{until: neverValid}
	c.known[k] = a
	return a
}

const neverValid = -1 << 63

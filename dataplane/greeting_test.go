package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

var peerA, peerB = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")

// A greeting counts for some time, and is news when the one before does not.
func TestGreetingCounts(t *testing.T) {
	var g greetings
	for i, step := range []struct {
		from       netip.Addr
		at         time.Duration
		news, both bool // both peers' greetings count then
	}{
		{peerA, 0, true, false},
		{peerB, time.Second, true, true},
		{peerA, greetingFor - 1, false, true},
		{peerA, greetingFor, false, true},
		{peerA, greetingFor + time.Second, false, false}, // the other's is over
		{peerB, greetingFor + time.Second, true, true},
		{peerA, 9 * greetingFor, true, false},
	} {
		if news := g.took(step.from, step.at); news != step.news {
			t.Errorf("step %d: news %v", i, news)
		}
		if both := g.count(peerA, step.at) && g.count(peerB, step.at); both != step.both {
			t.Errorf("step %d: both count: %v", i, both)
		}
	}
	if none := new(greetings); none.count(peerA, 0) {
		t.Error("one that never came counts")
	}
}

// Whoever sends much is greeted, behind one small packet; an answer does not wait for
// a small one.
func TestGreetingDue(t *testing.T) {
	var g greetings
	check := func(what string, to netip.Addr, small, behind, alone bool) {
		t.Helper()
		if b, a := g.due(to, small); b != behind || a != alone {
			t.Errorf("%s: behind %v, alone %v", what, b, a)
		}
	}
	hears := func(n int, at time.Duration) {
		for range n {
			g.hears(peerA, false, at)
		}
	}
	hears(busyFrames-1, 0)
	check("too little", peerA, true, false, false)
	hears(1, 0)
	check("another peer", peerB, true, false, false)
	check("a large packet", peerA, false, false, false)
	check("a small one", peerA, true, true, false)
	check("the next", peerA, true, false, false)
	hears(busyFrames, time.Second)
	check("a lease later", peerA, true, true, false)
	g.hears(peerA, true, 2*time.Second)
	check("one of many that go past the process", peerA, true, true, false)
	g.owe(peerA, true)
	g.owe(peerA, false)
	check("an answer, behind a large packet", peerA, false, false, true)
	check("the next of those", peerA, false, false, false)
	g.owe(peerA, true)
	check("an answer, behind a small packet", peerA, true, true, false)
}

// However many addresses somebody forges, what is remembered of them is bounded,
// and makes room when it is old.
func TestGreetingsBounded(t *testing.T) {
	var g greetings
	forged := func(n uint32) netip.Addr {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
	}
	for n := range uint32(2 * maxGreeted) {
		g.owe(forged(n), n%2 == 0)
		if news := g.took(forged(n), 0); news != (n < maxGreeted) {
			t.Fatalf("greeting %d is news: %v", n, news)
		}
	}
	_, known := g.owed[forged(2*maxGreeted-1)]
	if len(g.owed) > maxGreeted || !known || len(g.until) != maxGreeted {
		t.Errorf("%d and %d are remembered", len(g.owed), len(g.until))
	}
	if !g.took(peerA, greetingFor) || len(g.until) != 1 {
		t.Errorf("no room was made: %d", len(g.until))
	}
}

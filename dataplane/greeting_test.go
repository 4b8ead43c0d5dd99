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

// Whoever sends much is greeted, behind one small packet.
func TestGreet(t *testing.T) {
	var g greetings
	small, large := make([]byte, maxGreeting, 2*maxGreeting), make([]byte, maxGreeting+1)
	greets := func(packet []byte, to netip.Addr) bool { return len(g.greet(packet, to)) > len(packet) }
	for range busyFrames - 1 {
		g.hears(peerA, 0)
	}
	if greets(small, peerA) {
		t.Error("greeted for little")
	}
	g.hears(peerA, 0)
	if greets(small, peerB) || greets(large, peerA) {
		t.Error("greeted another, or behind a large packet")
	}
	if !greets(small, peerA) {
		t.Error("not greeted")
	}
	if small[:cap(small)][maxGreeting] != 0 {
		t.Error("what lies behind the packet in memory was written to")
	}
	if greets(small, peerA) {
		t.Error("greeted twice")
	}
	for range busyFrames {
		g.hears(peerA, time.Second)
	}
	if !greets(small, peerA) {
		t.Error("not greeted again")
	}
}

// However many addresses somebody forges, what is remembered of them is bounded,
// and makes room when it is old.
func TestGreetingsBounded(t *testing.T) {
	var g greetings
	forged := func(n uint32) netip.Addr {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
	}
	for n := range uint32(2 * maxGreeted) {
		g.owe(forged(n))
		if news := g.took(forged(n), 0); news != (n < maxGreeted) {
			t.Fatalf("greeting %d is news: %v", n, news)
		}
	}
	if len(g.owed) > maxGreeted || !g.owed[forged(2*maxGreeted-1)] || len(g.until) != maxGreeted {
		t.Errorf("%d and %d are remembered", len(g.owed), len(g.until))
	}
	if !g.took(peerA, greetingFor) || len(g.until) != 1 {
		t.Errorf("no room was made: %d", len(g.until))
	}
}

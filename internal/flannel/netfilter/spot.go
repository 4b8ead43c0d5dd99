//go:build linux

package netfilter

import "strings"

// action is what a rule of somebody else does, as far as that decides where
// the jumps of this node stand.
type action int

const (
	other      action = iota
	ends              // the packet's way through the base chain
	returns           // to the calling chain
	jumps             // to another chain
	translates        // the packet's source address
)

// step is a rule of somebody else.
type step struct {
	always bool // meets every packet
	does   action
	to     string // the chain it jumps to
}

// spots are where the jumps belong in a base chain: before which of the rules
// of others, counted from 0. all is the jump that every packet takes; inner are
// those that only traffic within a network takes, -1 where none is needed.
//
// flannel appends its jump, so that what an administrator or a network policy
// drops stays dropped, and so it is done here, with two exceptions. A rule that
// ends every packet's way, such as the REJECT at the end of a distribution's
// FORWARD, would leave the jump without effect. And dockerd, since version 27,
// drops what comes to a container from another interface than its bridge.
// Between containers of the network that is undone; all else that dockerd
// decides, such as that its bridges do not reach each other, stays.
type spots struct{ all, inner int }

// forwardSpots looks at FORWARD. chain returns the rules of another chain of
// the same table.
func forwardSpots(rules []step, chain func(string) []step) spots {
	s := spots{all: len(rules), inner: -1}
	for i, r := range rules {
		if r.always && stops(r, chain, maxDepth) {
			s.all = i
			break
		}
		if s.inner < 0 && r.does == jumps && (r.to == "DOCKER" || r.to == "DOCKER-FORWARD") {
			s.inner = i
		}
	}
	return s
}

// maxDepth of jumps within jumps is that of nf_tables.
const maxDepth = 16

// stops reports whether no packet that meets r goes on behind it.
func stops(r step, chain func(string) []step, depth int) bool {
	if r.does != jumps {
		return r.does == ends
	}
	if depth == 0 || strings.HasPrefix(r.to, "DOCKER") {
		return false
	}
	for _, inside := range chain(r.to) {
		switch {
		case !inside.always:
		case inside.does == returns:
			return false
		case stops(inside, chain, depth-1):
			return true
		}
	}
	return false
}

// masqSpots looks at POSTROUTING: the jump stands before dockerd's MASQUERADE,
// which is a rule of that very chain. Chains of others that masquerade, those
// of kube-proxy, of CNI plugins or of Calico, know which packets they mean.
func masqSpots(rules []step, _ func(string) []step) spots {
	s := spots{all: len(rules), inner: -1}
	for i, r := range rules {
		if r.does == translates {
			s.all = i
			break
		}
	}
	return s
}

// jump is one that stands in a base chain, written as it would be now.
type jump struct {
	all    bool // that every packet takes
	inner  int  // of which network it is, where it is one of a network's own; -1 else
	before int  // which of the rules of others
}

// inPlace reports whether the jumps that are there will do for so many
// networks: a jump that stands earlier than it must is left alone.
func (s spots) inPlace(have []jump, networks int) bool {
	all, inner := -1, map[int]int{}
	for _, j := range have {
		_, again := inner[j.inner]
		switch {
		case j.all && all < 0:
			all = j.before
		case !j.all && j.inner >= 0 && !again:
			inner[j.inner] = j.before
		default: // one too many, or of another form
			return false
		}
	}
	if all < 0 || all > s.all {
		return false
	}
	if s.inner < 0 || s.inner >= all {
		return len(inner) == 0
	}
	for _, before := range inner {
		if before > s.inner {
			return false
		}
	}
	return len(inner) == networks
}

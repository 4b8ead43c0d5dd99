//go:build linux

package netfilter

import "github.com/google/nftables"

// purpose is what one of the two chains is for, with the names of it.
type purpose struct {
	table, base, chain, comment string // in the tables of iptables

	own      string // chain in the tables of flannel's own
	hook     *nftables.ChainHook
	kind     nftables.ChainType
	priority nftables.ChainPriority

	rules func(family) []rule
	spots func([]step, func(string) []step) spots
}

var forwarding = &purpose{
	table: "filter", base: "FORWARD", chain: "FLANNEL-FWD", comment: "flanneld forward",
	own: "forward", hook: nftables.ChainHookForward, kind: nftables.ChainTypeFilter, priority: *nftables.ChainPriorityFilter,
	rules: family.forwardRules, spots: forwardSpots,
}

// The own chain comes before those of iptables: the first that decides about a
// connection's addresses is the one that counts.
var masquerading = &purpose{
	table: "nat", base: "POSTROUTING", chain: "FLANNEL-POSTRTG", comment: "flanneld masq",
	own: "postrtg", hook: nftables.ChainHookPostrouting, kind: nftables.ChainTypeNAT, priority: *nftables.ChainPriorityNATSource - 1,
	rules: family.masqRules, spots: masqSpots,
}

var purposes = []*purpose{forwarding, masquerading}

//go:build linux

package netfilter

import (
	"fmt"
	"net/netip"
)

// Rules are what a node wants of the packet filter. Of an address family whose
// prefixes are zero it wants nothing.
type Rules struct {
	Network, Subnet   netip.Prefix // of all nodes' containers, and of this node's
	Network6, Subnet6 netip.Prefix

	Forward     bool // let the network's traffic through, --iptables-forward-rules
	Masquerade  bool // hide the network from what is outside of it, --ip-masq
	RandomFully bool // choose the ports of masqueraded connections at random
	NFT         bool // in tables of flannel's own, EnableNFTables
}

// family is what is wanted of IPv4, or of IPv6.
type family struct {
	v6              bool
	network, subnet netip.Prefix
	forward, masq   bool
	randomFully     bool
	nft             bool
}

func (r Rules) families() []family {
	f4 := family{false, r.Network.Masked(), r.Subnet.Masked(), r.Forward, r.Masquerade, r.RandomFully, r.NFT}
	f6 := f4
	f6.v6, f6.network, f6.subnet = true, r.Network6.Masked(), r.Subnet6.Masked()
	for _, f := range []*family{&f4, &f6} {
		f.forward = f.forward && f.network.IsValid()
		f.masq = f.masq && f.network.IsValid()
	}
	return []family{f4, f6}
}

func (r Rules) validate() error {
	for _, f := range r.families() {
		if err := f.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (f family) validate() error {
	name := "IPv4"
	if f.v6 {
		name = "IPv6"
	}
	switch {
	case !f.network.IsValid() && !f.subnet.IsValid():
		return nil
	case !f.network.IsValid() || !f.subnet.IsValid():
		return fmt.Errorf("packet filter: the %s network (%v) and the subnet (%v) go together", name, f.network, f.subnet)
	case f.network.Addr().Is4() == f.v6 || f.subnet.Addr().Is4() == f.v6:
		return fmt.Errorf("packet filter: network %v and subnet %v are not %s", f.network, f.subnet, name)
	case f.subnet.Bits() < f.network.Bits() || !f.network.Contains(f.subnet.Addr()):
		return fmt.Errorf("packet filter: subnet %v is not a part of network %v", f.subnet, f.network)
	}
	return nil
}

// kubeMark is the bit by which kube-proxy marks what it is going to masquerade
// in its own chain.
const kubeMark = 0x4000

// verdict is what becomes of a packet that a rule meets.
type verdict int

const (
	accepted     verdict = iota
	passedOn             // to the rules that others have in the base chain
	keepsSource          // whatever others' rules say of it: its source address stays
	masqueraded          //
	masqRandomly         // masqueraded, with a port chosen at random
)

// match compares an address with a prefix; the zero match meets every address.
type match struct {
	prefix netip.Prefix
	not    bool
}

func is(p netip.Prefix) match    { return match{prefix: p} }
func isNot(p netip.Prefix) match { return match{prefix: p, not: true} }

// rule is one rule of flannel's chains, whatever form its place gives it.
type rule struct {
	marked   bool // only with kubeMark
	src, dst match
	verdict  verdict
}

// forwardRules accept what comes from the network or goes there.
func (f family) forwardRules() []rule {
	if !f.forward {
		return nil
	}
	return []rule{
		{src: is(f.network), verdict: accepted},
		{dst: is(f.network), verdict: accepted},
	}
}

// masqRules are flannel's, in its order, but for the second and third. It lets
// what a container sends to one of another node pass on to the rules of others,
// and there dockerd's own MASQUERADE hides the container. What stays within the
// node is left to the others: dockerd and the CNI plugins masquerade a
// container that reaches itself by a published port.
func (f family) masqRules() []rule {
	if !f.masq {
		return nil
	}
	masquerade := masqueraded
	if f.randomFully {
		masquerade = masqRandomly
	}
	return []rule{
		{marked: true, verdict: passedOn},
		{src: is(f.subnet), dst: is(f.subnet), verdict: passedOn},
		{src: is(f.subnet), dst: is(f.network), verdict: keepsSource},
		{src: is(f.network), dst: is(f.subnet), verdict: passedOn},
		{src: isNot(f.network), dst: is(f.subnet), verdict: passedOn},
		{src: is(f.network), dst: isNot(multicast(f.v6)), verdict: masquerade},
		{src: isNot(f.network), dst: is(f.network), verdict: masquerade},
	}
}

func multicast(v6 bool) netip.Prefix {
	if v6 {
		return netip.MustParsePrefix("ff00::/8")
	}
	return netip.MustParsePrefix("224.0.0.0/4")
}

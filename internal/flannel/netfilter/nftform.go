//go:build linux

package netfilter

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// form is how rules are written down for nf_tables.
type form struct {
	v6      bool
	comment string // of iptables' extension; "" for none
	own     bool   // in a table of flannel's own: no extension of iptables is used
}

const register = 1 // NFT_REG_1, of 16 bytes

// exprs writes a rule down as iptables does: mark, addresses, comment, counter,
// verdict.
func (f form) exprs(r rule) []expr.Any {
	var e []expr.Any
	if r.marked {
		e = append(e, f.marked()...)
	}
	e = append(e, f.match(r.src, f.sourceAt())...)
	e = append(e, f.match(r.dst, f.sourceAt()+f.addrLen())...)
	e = append(e, f.noted()...)
	e = append(e, &expr.Counter{})
	return append(e, f.verdict(r.verdict)...)
}

// jump is the rule of a base chain that leads to ours: all packets, or with a
// network those that stay in it.
func (f form) jump(chain string, within netip.Prefix) []expr.Any {
	var e []expr.Any
	if within.IsValid() {
		e = append(e, f.match(is(within), f.sourceAt())...)
		e = append(e, f.match(is(within), f.sourceAt()+f.addrLen())...)
	}
	e = append(e, f.noted()...)
	return append(e, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictJump, Chain: chain})
}

// sourceAt is where the IP header has its source address; the destination
// follows it.
func (f form) sourceAt() uint32 {
	if f.v6 {
		return 8
	}
	return 12
}

func (f form) addrLen() uint32 {
	if f.v6 {
		return 16
	}
	return 4
}

func (f form) marked() []expr.Any {
	bit := binary.NativeEndian.AppendUint32(nil, kubeMark)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: bit, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: bit},
	}
}

// match loads no more of an address than the prefix is long, where that is
// whole bytes, and otherwise all of it: it is how iptables tells prefixes apart.
func (f form) match(m match, at uint32) []expr.Any {
	if !m.prefix.IsValid() || m.prefix.Bits() == 0 && !m.not {
		return nil
	}
	op := expr.CmpOpEq
	if m.not {
		op = expr.CmpOpNeq
	}
	addr, bits := m.prefix.Masked().Addr().AsSlice(), m.prefix.Bits()
	if bits%8 == 0 && bits > 0 {
		addr = addr[:bits/8]
	}
	load := &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: uint32(len(addr))}
	compare := &expr.Cmp{Op: op, Register: register, Data: addr}
	if bits%8 == 0 && bits > 0 {
		return []expr.Any{load, compare}
	}
	masked := &expr.Bitwise{
		SourceRegister: register, DestRegister: register, Len: uint32(len(addr)),
		Mask: net.CIDRMask(bits, 8*len(addr)), Xor: make([]byte, len(addr)),
	}
	return []expr.Any{load, masked, compare}
}

func (f form) noted() []expr.Any {
	if f.comment == "" {
		return nil
	}
	info := xt.Unknown(xtComment(f.comment))
	return []expr.Any{&expr.Match{Name: "comment", Info: &info}}
}

func (f form) verdict(v verdict) []expr.Any {
	switch {
	case v == passedOn:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}
	case v == keepsSource && f.own:
		return f.keepSource()
	case v == masqueraded || v == masqRandomly:
		return []expr.Any{f.masquerade(v == masqRandomly)}
	}
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
}

// keepSource translates the source address into itself. An accept would only
// end this chain, and the next NAT chain of the hook be asked.
func (f form) keepSource() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: f.sourceAt(), Len: f.addrLen()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(f.family()), RegAddrMin: register, RegAddrMax: register},
	}
}

func (f form) masquerade(randomFully bool) expr.Any {
	if f.own {
		return &expr.Masq{FullyRandom: randomFully}
	}
	info := xt.Unknown(xtAlign(xtMasquerade(f.v6, randomFully)))
	return &expr.Target{Name: "MASQUERADE", Info: &info}
}

// xtAlign fills up to the multiple of 8 that the kernel insists on.
func xtAlign(b []byte) []byte { return append(b, make([]byte, -len(b)&7)...) }

func (f form) family() nftables.TableFamily {
	if f.v6 {
		return nftables.TableFamilyIPv6
	}
	return nftables.TableFamilyIPv4
}

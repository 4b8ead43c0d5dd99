//go:build linux

package netfilter

import "encoding/binary"

// What iptables' extensions carry, struct for struct as the kernel's headers
// have them; nf_tables and iptables-legacy take the same bytes, which are the
// machine's own where they are not addresses.

// xtComment is struct xt_comment_info.
func xtComment(text string) []byte {
	b := make([]byte, 256)
	copy(b[:255], text)
	return b
}

// xtMark is struct xt_mark_mtinfo1: mark, mask, invert.
func xtMark(mark uint32) []byte {
	b := make([]byte, 12)
	binary.NativeEndian.PutUint32(b, mark)
	binary.NativeEndian.PutUint32(b[4:], mark)
	return b
}

const natRangeRandomFully = 1 << 4 // NF_NAT_RANGE_PROTO_RANDOM_FULLY

// xtMasquerade is struct nf_nat_ipv4_multi_range_compat with its one range, or
// for IPv6 struct nf_nat_range. Neither names an address or a port.
func xtMasquerade(v6, randomFully bool) []byte {
	var flags uint32
	if randomFully {
		flags = natRangeRandomFully
	}
	if v6 {
		b := make([]byte, 40)
		binary.NativeEndian.PutUint32(b, flags)
		return b
	}
	b := make([]byte, 20)
	binary.NativeEndian.PutUint32(b, 1)
	binary.NativeEndian.PutUint32(b[4:], flags)
	return b
}

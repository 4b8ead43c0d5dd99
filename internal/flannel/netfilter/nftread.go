//go:build linux

package netfilter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftRule is a rule as the kernel lists it. Its expressions stay bytes until
// somebody asks: others may use some that are not known here.
type nftRule struct {
	handle uint64
	exprs  []nftExpr
}

type nftExpr struct {
	name string
	data []byte // attributes
}

// nftReader asks the kernel. Its socket stays in the namespace where it was
// opened.
type nftReader struct{ sock *netlink.Conn }

func openReader() (*nftReader, error) {
	sock, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	return &nftReader{sock}, nil
}

func (r *nftReader) close() { _ = r.sock.Close() }

func (r *nftReader) ask(message uint16, family nftables.TableFamily, flags netlink.HeaderFlags, attrs []netlink.Attribute) ([]netlink.Message, error) {
	body, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return nil, err
	}
	return r.sock.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | message), Flags: netlink.Request | flags},
		Data:   append([]byte{byte(family), unix.NFNETLINK_V0, 0, 0}, body...), // struct nfgenmsg
	})
}

// generation is a number that changes with every change of the rule set.
func (r *nftReader) generation() (uint32, error) {
	replies, err := r.ask(unix.NFT_MSG_GETGEN, nftables.TableFamilyUnspecified, 0, nil)
	if err != nil {
		return 0, err
	}
	for _, m := range replies {
		attrs, err := attributes(m)
		if err != nil {
			return 0, err
		}
		for attrs.Next() {
			if attrs.Type() == unix.NFTA_GEN_ID {
				return attrs.Uint32(), attrs.Err()
			}
		}
	}
	return 0, fmt.Errorf("the kernel names no generation of its rules")
}

// rules lists a chain; one that does not exist has none.
func (r *nftReader) rules(family nftables.TableFamily, table, chain string) ([]nftRule, error) {
	replies, err := r.ask(unix.NFT_MSG_GETRULE, family, netlink.Dump, []netlink.Attribute{
		{Type: unix.NFTA_RULE_TABLE, Data: []byte(table + "\x00")},
		{Type: unix.NFTA_RULE_CHAIN, Data: []byte(chain + "\x00")},
	})
	if err != nil {
		return nil, err
	}
	rules := make([]nftRule, 0, len(replies))
	for _, m := range replies {
		one, where, err := parseRule(m)
		if err != nil {
			return nil, err
		}
		// Before Linux 4.9 the dump was not confined to what was asked for.
		if where == [2]string{table, chain} {
			rules = append(rules, one)
		}
	}
	return rules, nil
}

func attributes(m netlink.Message) (*netlink.AttributeDecoder, error) {
	if len(m.Data) < 4 {
		return nil, fmt.Errorf("netfilter's reply has %d bytes, less than its header", len(m.Data))
	}
	return decoder(m.Data[4:])
}

func decoder(b []byte) (*netlink.AttributeDecoder, error) {
	d, err := netlink.NewAttributeDecoder(b)
	if err == nil {
		d.ByteOrder = binary.BigEndian
	}
	return d, err
}

func parseRule(m netlink.Message) (r nftRule, where [2]string, err error) {
	d, err := attributes(m)
	if err != nil {
		return r, where, err
	}
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_RULE_TABLE:
			where[0] = d.String()
		case unix.NFTA_RULE_CHAIN:
			where[1] = d.String()
		case unix.NFTA_RULE_HANDLE:
			r.handle = d.Uint64()
		case unix.NFTA_RULE_EXPRESSIONS:
			d.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(r.takeExpr)
				}
				return nil
			})
		}
	}
	return r, where, d.Err()
}

func (r *nftRule) takeExpr(d *netlink.AttributeDecoder) error {
	var e nftExpr
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_EXPR_NAME:
			e.name = d.String()
		case unix.NFTA_EXPR_DATA:
			e.data = d.Bytes()
		}
	}
	r.exprs = append(r.exprs, e)
	return nil
}

// is reports whether the rule consists of these expressions. What a counter
// has counted does not matter.
func (r nftRule) is(family nftables.TableFamily, want []expr.Any) bool {
	return slices.EqualFunc(r.exprs, want, func(have nftExpr, want expr.Any) bool { return have.is(family, want) })
}

// is brings what the kernel says into the form in which it would be written,
// since the two differ in what they leave out.
func (e nftExpr) is(family nftables.TableFamily, want expr.Any) bool {
	name, blank := kindOf(want)
	if e.name != name {
		return false
	}
	switch want := want.(type) {
	case *expr.Counter:
		return true
	case *expr.Match:
		return e.isExtension(want.Name, want.Rev, want.Info)
	case *expr.Target:
		return e.isExtension(want.Name, want.Rev, want.Info)
	}
	if expr.Unmarshal(byte(family), e.data, blank) != nil {
		return false
	}
	have, err1 := expr.MarshalExprData(byte(family), blank)
	wanted, err2 := expr.MarshalExprData(byte(family), want)
	return err1 == nil && err2 == nil && slices.Equal(have, wanted)
}

// isExtension compares without the zeros at the end: how many there are, is a
// matter of alignment.
func (e nftExpr) isExtension(name string, revision uint32, info xt.InfoAny) bool {
	data, ok := info.(*xt.Unknown)
	have := e.extension()
	return ok && have.name == name && have.revision == revision &&
		bytes.Equal(bytes.TrimRight(have.info, "\x00"), bytes.TrimRight(*data, "\x00"))
}

// kindOf names the expressions that forms are made of.
func kindOf(e expr.Any) (name string, blank expr.Any) {
	switch e.(type) {
	case *expr.Counter:
		return "counter", nil
	case *expr.Meta:
		return "meta", &expr.Meta{}
	case *expr.Bitwise:
		return "bitwise", &expr.Bitwise{}
	case *expr.Cmp:
		return "cmp", &expr.Cmp{}
	case *expr.Payload:
		return "payload", &expr.Payload{}
	case *expr.Verdict:
		return "immediate", &expr.Verdict{}
	case *expr.Match:
		return "match", nil
	case *expr.Target:
		return "target", nil
	case *expr.Masq:
		return "masq", &expr.Masq{}
	case *expr.NAT:
		return "nat", &expr.NAT{}
	}
	return "", nil
}

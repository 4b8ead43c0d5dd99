//go:build linux

package netfilter

import (
	"bytes"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// step says what a rule does. A rule meets every packet if nothing in it looks
// at one; an expression that is not known here is taken to look.
func (r nftRule) step() step {
	s := step{always: true}
	for _, e := range r.exprs {
		switch e.name {
		case "counter", "log":
		case "match":
			s.always = s.always && e.extension().name == "comment"
		case "target":
			s.does = targetAction(e.extension().name)
		case "reject":
			s.does = ends
		case "masq", "nat":
			s.does = translates
		case "immediate":
			if v, ok := e.verdict(); ok {
				s.does, s.to = verdictAction(v)
			}
		default:
			s.always = false
		}
	}
	return s
}

// targetAction is that of iptables' extensions, by their names.
func targetAction(name string) action {
	switch name {
	case "REJECT":
		return ends
	case "MASQUERADE", "SNAT", "NETMAP":
		return translates
	}
	return other
}

func verdictAction(v *expr.Verdict) (action, string) {
	switch v.Kind {
	case expr.VerdictAccept, expr.VerdictDrop:
		return ends, ""
	case expr.VerdictReturn:
		return returns, ""
	case expr.VerdictJump, expr.VerdictGoto:
		return jumps, v.Chain
	}
	return other, ""
}

// extension is one of iptables', a match or a target.
type extension struct {
	name     string
	revision uint32
	info     []byte
}

// extension reads a match or target, which number their attributes alike.
func (e nftExpr) extension() extension {
	var x extension
	d, err := decoder(e.data)
	if err != nil {
		return x
	}
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_MATCH_NAME:
			x.name = d.String()
		case unix.NFTA_MATCH_REV:
			x.revision = d.Uint32()
		case unix.NFTA_MATCH_INFO:
			x.info = d.Bytes()
		}
	}
	return x
}

// verdict reads an immediate, which may as well load a value.
func (e nftExpr) verdict() (*expr.Verdict, bool) {
	var v expr.Verdict
	var load expr.Immediate
	if expr.Unmarshal(unix.NFPROTO_IPV4, e.data, &load) != nil || load.Register != unix.NFT_REG_VERDICT {
		return nil, false
	}
	return &v, expr.Unmarshal(unix.NFPROTO_IPV4, e.data, &v) == nil
}

// isOurs reports whether a rule of a base chain leads to the chain, or has its
// comment as the rules of older flannels do.
func (r nftRule) isOurs(p *purpose) bool {
	if s := r.step(); s.does == jumps && s.to == p.chain {
		return true
	}
	for _, e := range r.exprs {
		if e.name != "match" {
			continue
		}
		if x := e.extension(); x.name == "comment" && bytes.Equal(x.info, xtComment(p.comment)) {
			return true
		}
	}
	return false
}

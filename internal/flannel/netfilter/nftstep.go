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
			s.always = s.always && e.extension() == "comment"
		case "target":
			s.does = targetAction(e.extension())
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

// extension is the name of the extension of iptables that a match or target is.
func (e nftExpr) extension() string {
	d, err := decoder(e.data)
	if err != nil {
		return ""
	}
	for d.Next() {
		if d.Type() == unix.NFTA_MATCH_NAME { // = NFTA_TARGET_NAME
			return d.String()
		}
	}
	return ""
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
		if e.name == "match" && e.extension() == "comment" && bytes.Equal(e.info(), xtComment(p.comment)) {
			return true
		}
	}
	return false
}

func (e nftExpr) info() []byte {
	d, err := decoder(e.data)
	if err != nil {
		return nil
	}
	for d.Next() {
		if d.Type() == unix.NFTA_MATCH_INFO {
			return d.Bytes()
		}
	}
	return nil
}

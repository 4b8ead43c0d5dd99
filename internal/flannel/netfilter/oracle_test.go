//go:build linux

package netfilter_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/flannel/netfilter/xtables"
	"github.com/weftnet/weft/internal/lab"
)

// tool is an iptables of one kind for both families.
type tool struct{ v4, v6 string }

var (
	overNFT    = tool{"iptables-nft", "ip6tables-nft"}
	overLegacy = tool{"iptables-legacy", "ip6tables-legacy"}
)

// there reports whether the machine has the tool; the tests need none.
func (x tool) there() bool {
	_, err4 := exec.LookPath(x.v4)
	_, err6 := exec.LookPath(x.v6)
	return err4 == nil && err6 == nil
}

// script is a family's commands, for prefixes of it.
func (x tool) script(v6 bool, lines string) [][]string {
	words := strings.NewReplacer("NETWORK", network4.String(), "SUBNET", subnet4[0].String(), "MULTICAST", "224.0.0.0/4")
	name := x.v4
	if v6 {
		words = strings.NewReplacer("NETWORK", network6.String(), "SUBNET", subnet6[0].String(), "MULTICAST", "ff00::/8")
		name = x.v6
	}
	var commands [][]string
	for line := range strings.Lines(lines) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		commands = append(commands, append([]string{name}, strings.Fields(words.Replace(line))...))
	}
	return commands
}

// run runs the lines in a host, each with the tool of each family. Comments
// are in place of their words: (masq) and (forward).
func (x tool) run(t *testing.T, h *lab.Host, lines string) {
	t.Helper()
	for _, v6 := range []bool{false, true} {
		for _, command := range x.script(v6, lines) {
			var args []string
			for _, word := range command[1:] {
				switch word {
				case "(masq)":
					args = append(args, "-m", "comment", "--comment", "flanneld masq")
				case "(forward)":
					args = append(args, "-m", "comment", "--comment", "flanneld forward")
				default:
					args = append(args, word)
				}
			}
			out, err := h.Run(nil, command[0], args...)
			check(t, err)
			if out.Status != 0 {
				t.Fatalf("%v: %s", command, out.Stderr)
			}
		}
	}
}

var noise = regexp.MustCompile(`(?m)^#.*\n| ?\[\d+:\d+\]`)

// saved is what the tool lists of both families, without counts and dates.
func (x tool) saved(t *testing.T, h *lab.Host) string {
	t.Helper()
	var b strings.Builder
	for _, name := range []string{x.v4, x.v6} {
		out, err := h.Run(nil, name+"-save")
		check(t, err)
		if out.Status != 0 || strings.Contains(out.Stdout, "incompatible") {
			t.Fatalf("%s-save: %s%s", name, out.Stdout, out.Stderr)
		}
		b.WriteString(noise.ReplaceAllString(out.Stdout, ""))
	}
	return b.String()
}

// takesOver has flanneld's rules replaced, so that the tool lists want, and
// taken away, so that it lists what was there before.
func (x tool) takesOver(t *testing.T, h *lab.Host, before, want string) {
	t.Helper()
	x.run(t, h, flannelRules)
	newKeeper(h).apply(t, rules(0))
	if got := x.saved(t, h); got != want {
		t.Errorf("after flanneld iptables lists\n%s\nnot\n%s", got, want)
	}
	newKeeper(h).remove(t)
	if got := x.saved(t, h); got != before {
		t.Errorf("removed, iptables lists\n%s\nnot\n%s", got, before)
	}
}

// hostRules are what the host has before.
const hostRules = `
-P FORWARD DROP
-A FORWARD -i lo -j ACCEPT
-t nat -A POSTROUTING -s SUBNET ! -o docker0 -j MASQUERADE
-t nat -A PREROUTING -i lo -j ACCEPT
`

// ourRules are those of host 1, as one would write them by hand.
const ourRules = `
-N FLANNEL-FWD
-A FLANNEL-FWD -s NETWORK (forward) -j ACCEPT
-A FLANNEL-FWD -d NETWORK (forward) -j ACCEPT
-A FORWARD (forward) -j FLANNEL-FWD
-t nat -N FLANNEL-POSTRTG
-t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 (masq) -j RETURN
-t nat -A FLANNEL-POSTRTG -s SUBNET -d SUBNET (masq) -j RETURN
-t nat -A FLANNEL-POSTRTG -s SUBNET -d NETWORK (masq) -j ACCEPT
-t nat -A FLANNEL-POSTRTG -s NETWORK -d SUBNET (masq) -j RETURN
-t nat -A FLANNEL-POSTRTG ! -s NETWORK -d SUBNET (masq) -j RETURN
-t nat -A FLANNEL-POSTRTG -s NETWORK ! -d MULTICAST (masq) -j MASQUERADE --random-fully
-t nat -A FLANNEL-POSTRTG ! -s NETWORK -d NETWORK (masq) -j MASQUERADE --random-fully
-t nat -I POSTROUTING (masq) -j FLANNEL-POSTRTG
`

// flannelRules are those of flanneld, which was there before.
const flannelRules = `
-N FLANNEL-FWD
-A FLANNEL-FWD -s NETWORK (forward) -j ACCEPT
-A FLANNEL-FWD -d NETWORK (forward) -j ACCEPT
-A FORWARD (forward) -j FLANNEL-FWD
-t nat -N FLANNEL-POSTRTG
-t nat -A POSTROUTING (masq) -j FLANNEL-POSTRTG
-t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 (masq) -j RETURN
-t nat -A FLANNEL-POSTRTG -s SUBNET -d NETWORK (masq) -j RETURN
-t nat -A FLANNEL-POSTRTG -s NETWORK -d SUBNET (masq) -j RETURN
-t nat -A FLANNEL-POSTRTG ! -s NETWORK -d SUBNET (masq) -j RETURN
-t nat -A FLANNEL-POSTRTG -s NETWORK ! -d MULTICAST (masq) -j MASQUERADE --random-fully
-t nat -A FLANNEL-POSTRTG ! -s NETWORK -d NETWORK (masq) -j MASQUERADE --random-fully
-t nat -A POSTROUTING ! -s NETWORK -d NETWORK (masq) -j MASQUERADE
`

// TestIptablesListsThem: where the machine has iptables over nf_tables, it
// lists the rules as those that it writes itself, those are known as being in
// place, and flanneld's are replaced.
func TestIptablesListsThem(t *testing.T) {
	if !overNFT.there() {
		return
	}
	lockFile(t)
	ours, byHand, flanneld := lab.TestHost(t, "ours"), lab.TestHost(t, "by-hand"), lab.TestHost(t, "flanneld")
	for _, h := range []*lab.Host{ours, byHand, flanneld} {
		overNFT.run(t, h, hostRules)
	}
	before := overNFT.saved(t, ours)
	newKeeper(ours).apply(t, rules(0))
	overNFT.run(t, byHand, ourRules)
	want := overNFT.saved(t, byHand)
	if got := overNFT.saved(t, ours); got != want {
		t.Errorf("iptables lists\n%s\nnot\n%s", got, want)
	}

	plain := newKeeper(ours)
	plain.k.WithoutExtensions()
	plain.apply(t, rules(0))
	if got := overNFT.saved(t, ours); !strings.Contains(got, "-A FORWARD -j FLANNEL-FWD\n") {
		t.Errorf("without extensions iptables lists\n%s", got)
	}

	written := handles(t, byHand)
	newKeeper(byHand).apply(t, rules(0))
	if again := handles(t, byHand); !slices.Equal(again, written) {
		t.Error("the rules that iptables wrote are written anew")
	}

	overNFT.takesOver(t, flanneld, before, want)
}

// TestLegacyListsThem does the same for iptables-legacy, where the tables have
// to be the same byte for byte.
func TestLegacyListsThem(t *testing.T) {
	if !overLegacy.there() {
		return
	}
	lab.NeedLegacyIptables(t)
	lockFile(t)
	ours, byHand, flanneld := lab.TestHost(t, "ours"), lab.TestHost(t, "by-hand"), lab.TestHost(t, "flanneld")
	for _, h := range []*lab.Host{ours, byHand, flanneld} {
		overLegacy.run(t, h, hostRules+manyRules)
	}
	before, counted := overLegacy.saved(t, ours), legacyBytes(t, ours, true)
	newKeeper(ours).apply(t, rules(0))
	overLegacy.run(t, byHand, ourRules)
	want := overLegacy.saved(t, byHand)
	if got := overLegacy.saved(t, ours); got != want {
		t.Errorf("iptables lists\n%s\nnot\n%s", got, want)
	}
	if got, want := legacyBytes(t, ours, false), legacyBytes(t, byHand, false); got != want {
		t.Errorf("the tables are\n%s\nnot\n%s", got, want)
	}
	newKeeper(ours).remove(t)
	if got := legacyBytes(t, ours, true); got != counted {
		t.Errorf("removing left\n%s\nof\n%s", got, counted)
	}

	overLegacy.takesOver(t, flanneld, before, want)
}

// manyRules are of others, with all that an entry can have.
const manyRules = `
-N A-CHAIN
-N Z-CHAIN
-N A2-CHAIN
-A A-CHAIN -p tcp -m tcp --dport 80:90 --tcp-flags SYN,ACK SYN -m conntrack --ctstate NEW -m limit --limit 5/min -j Z-CHAIN
-A A-CHAIN -p udp -m multiport --dports 53,67 -j RETURN
-A Z-CHAIN -i eth+ ! -o lo
-A Z-CHAIN -g A2-CHAIN
-A INPUT -j A-CHAIN -c 7 700
-A OUTPUT -m mark ! --mark 0x5/0xf -j LOG --log-prefix out
-t nat -A OUTPUT -p tcp -m addrtype --dst-type LOCAL -j REDIRECT --to-ports 8080
-t nat -A POSTROUTING -o eth1 -j MASQUERADE
`

func legacyBytes(t *testing.T, h *lab.Host, counts bool) string {
	t.Helper()
	return legacyListing(t, h, xtables.IPv4, counts) + legacyListing(t, h, xtables.IPv6, counts)
}

package cli

import (
	"maps"
	"net/netip"

	"github.com/weftnet/weft/dataplane"
)

// linkSet is what the words of `weft link set` say.
type linkSet struct {
	name     string
	kind     string
	asksLink bool // a word that the link's daemon must be asked about
	change   dataplane.LinkChange
	fixed    []fixedWord
	device   deviceChange
}

// fixedWord is a word that the kernel does not let anyone change later.
type fixedWord struct {
	word     string
	sentence string // the kernel's
	same     func(*dataplane.LinkConfig) bool
}

// vxlanSetWords are about the tunnel; they may stand behind `type vxlan` or
// without it.
var vxlanSetWords = map[string]word[linkSet]{
	"remote": change("remote", setRemote),
	"group":  change("remote", setGroup),
	"local":  change("local", setLocal),
	"dev":    change("dev", setDev),
	"tos":    change("tos", setTOS),
	"df":     change("df", func(c *cursor, into *dataplane.LinkChange) (err error) { into.DF, err = got(c.df()); return err }),
	"flowlabel": change("flowlabel", func(c *cursor, into *dataplane.LinkChange) (err error) {
		into.FlowLabel, err = got(c.flowLabel())
		return err
	}),
	"ageing": change("ageing", func(c *cursor, into *dataplane.LinkChange) (err error) {
		into.Ageing, err = got(c.ageing())
		return err
	}),
	"learning":      change("learning", func(_ *cursor, into *dataplane.LinkChange) error { into.Learning = new(true); return nil }),
	"nolearning":    change("learning", func(_ *cursor, into *dataplane.LinkChange) error { into.Learning = new(false); return nil }),
	"allow-sources": change("allow-sources", setSources),
	"ttl":           {"ttl", setTTL},

	"id":         fixed("id", "Cannot change VNI.", sameVNI),
	"dstport":    fixed("dstport", "Cannot change port.", func(c *cursor) (sameAs, error) { _, err := c.port(); return never, err }),
	"srcport":    fixed("srcport", "Cannot change port range.", sourcePortsUnsaid),
	"maxaddress": fixed("maxaddress", "Cannot change limit.", func(c *cursor) (sameAs, error) { _, err := c.addressLimit(); return never, err }),
	"udpcsum":    fixed("udpcsum", "Cannot change UDP_CSUM flag.", nil), "noudpcsum": fixed("udpcsum", "Cannot change UDP_CSUM flag.", nil),
	"udp6zerocsumtx": fixedFlag("UDP_ZERO_CSUM6_TX"), "noudp6zerocsumtx": fixedFlag("UDP_ZERO_CSUM6_TX"),
	"udp6zerocsumrx": fixedFlag("UDP_ZERO_CSUM6_RX"), "noudp6zerocsumrx": fixedFlag("UDP_ZERO_CSUM6_RX"),
	"proxy": fixedFlag("PROXY"), "noproxy": fixedFlag("PROXY"),
	"l2miss": fixedFlag("L2MISS"), "nol2miss": fixedFlag("L2MISS"),
	"l3miss": fixedFlag("L3MISS"), "nol3miss": fixedFlag("L3MISS"),
}

// setWords come before `type`.
var setWords = grammar[linkSet]{
	words: withWords(vxlanSetWords, map[string]word[linkSet]{
		"dev":      {"", setNameOrDev},
		"type":     {"type", setKind},
		"name":     {"name", func(c *cursor, into *linkSet) (err error) { into.device.name, err = c.deviceName(); return err }},
		"address":  {"address", func(c *cursor, into *linkSet) (err error) { into.device.address, err = c.mac(); return err }},
		"mtu":      {"mtu", setMTU},
		"master":   {"master", func(c *cursor, into *linkSet) error { v, err := c.deviceName(); into.device.master = &v; return err }},
		"nomaster": {"master", func(_ *cursor, into *linkSet) error { into.device.master = new(string); return nil }},
		"up":       {"up", func(_ *cursor, into *linkSet) error { into.device.up = new(true); return nil }},
		"down":     {"up", func(_ *cursor, into *linkSet) error { into.device.up = new(false); return nil }},
	}),
	aliases: vxlanWords.aliases,
	refused: reasons(
		notInWeft, kernelOnly,
		ownFixed, ownFixedWords,
		"is not for `weft link set`: use `ip link set`", "txqueuelen txqlen qlen arp multicast alias broadcast brd netns promisc "+
			"allmulticast dynamic trailers carrier protodown vf vrf addrgenmode xdp index",
	),
	bare: bareSetName,
}

// vxlanSetGrammar is for what stands behind `type vxlan`.
var vxlanSetGrammar = grammar[linkSet]{
	words:   vxlanSetWords,
	aliases: vxlanWords.aliases,
	refused: reasons(
		notInWeft, kernelOnly,
		ownFixed, ownFixedWords,
		"belongs before `type`", "name address mtu master nomaster up down",
	),
}

// udpSetGrammar is for what stands behind `type udp`.
var udpSetGrammar = grammar[linkSet]{
	words: map[string]word[linkSet]{"allow-sources": vxlanSetWords["allow-sources"]},
	refused: reasons(
		ownFixed, "local dev port offload queues",
		"belongs before `type`", "name address mtu master nomaster up down",
	),
}

const (
	ownFixed      = "stays what `link add` made it: delete the link and add it again"
	ownFixedWords = "profile offload l3 queues"
)

func withWords[T any](sets ...map[string]word[T]) map[string]word[T] {
	all := map[string]word[T]{}
	for _, s := range sets {
		maps.Copy(all, s)
	}
	return all
}

// got is a value that was read, for a field that is nil without one.
func got[V any](v V, err error) (*V, error) { return &v, err }

// change is a word that the link's daemon carries out.
func change(sets string, parse func(*cursor, *dataplane.LinkChange) error) word[linkSet] {
	return word[linkSet]{sets, func(c *cursor, into *linkSet) error {
		into.asksLink = true
		return parse(c, &into.change)
	}}
}

// sameAs says whether a link has already what a word asks for.
type sameAs = func(*dataplane.LinkConfig) bool

// never is for words that the kernel refuses even where nothing would change.
func never(*dataplane.LinkConfig) bool { return false }

// fixed is a word whose value is read, and whose change is refused with the
// kernel's sentence.
func fixed(sets, sentence string, parse func(*cursor) (sameAs, error)) word[linkSet] {
	return word[linkSet]{sets, func(c *cursor, into *linkSet) (err error) {
		f := fixedWord{c.word, sentence, never}
		if parse != nil {
			f.same, err = parse(c)
		}
		into.asksLink, into.fixed = true, append(into.fixed, f)
		return err
	}}
}

func fixedFlag(flag string) word[linkSet] {
	return fixed(flag, "vxlan: cannot change "+flag+" flag.", nil)
}

func sameVNI(c *cursor) (sameAs, error) {
	vni, err := c.vni()
	return func(l *dataplane.LinkConfig) bool { return l.VNI == vni }, err
}

// sourcePortsUnsaid is for the range that ip does not even send, 0 0. Every
// other one the kernel refuses, that which the link has too.
func sourcePortsUnsaid(c *cursor) (sameAs, error) {
	low, high, err := c.sourcePorts()
	return func(*dataplane.LinkConfig) bool { return low == 0 && high == 0 }, err
}

func setRemote(c *cursor, into *dataplane.LinkChange) error {
	addr, err := c.remote()
	into.Remote = new(specified(addr))
	return err
}

func setGroup(c *cursor, into *dataplane.LinkChange) (err error) {
	into.Remote, err = got(c.group())
	return err
}

func setLocal(c *cursor, into *dataplane.LinkChange) error {
	addr, err := c.unicast()
	into.Local = new(specified(addr))
	return err
}

func setDev(c *cursor, into *dataplane.LinkChange) (err error) {
	into.Dev, err = got(c.deviceName())
	return err
}

func setTOS(c *cursor, into *dataplane.LinkChange) error {
	n, inherit, err := c.tos()
	into.TOS, into.TOSCopy = &n, &inherit
	return err
}

// setTTL takes a number; that a link inherits is fixed.
func setTTL(c *cursor, into *linkSet) error {
	n, inherit, err := c.ttl()
	if inherit {
		into.fixed = append(into.fixed, fixedWord{"ttl inherit", "vxlan: cannot change TTL_INHERIT flag.", never})
	}
	into.asksLink, into.change.TTL = true, &n
	return err
}

// setSources takes prefixes, or a word for everybody.
func setSources(c *cursor, into *dataplane.LinkChange) (err error) {
	if len(c.words) > 0 && (c.words[0] == "none" || c.words[0] == "any") {
		c.words = c.words[1:]
		into.AllowSources = &[]netip.Prefix{}
		return nil
	}
	into.AllowSources, err = got(c.prefixes())
	return err
}

// setNameOrDev takes the first `dev` for the link itself, as `ip link set`
// does, unless it has been named.
func setNameOrDev(c *cursor, into *linkSet) (err error) {
	switch {
	case into.name == "":
		into.name, err = c.deviceName()
		return err
	case into.change.Dev != nil:
		return duplicate("dev", c.word)
	}
	return vxlanSetWords["dev"].parse(c, into)
}

func bareSetName(c *cursor, into *linkSet) (bool, error) {
	if into.name != "" {
		return false, nil
	}
	if !validName(c.word) {
		return true, usagef("name %q is refused: allowed is %s", c.word, nameShape)
	}
	into.name = c.word
	return true, nil
}

func setMTU(c *cursor, into *linkSet) error {
	n, err := c.number("a size in bytes", 68, 65535)
	into.device.mtu = int(n)
	return err
}

// setKind reads the link's type and then all words behind it.
func setKind(c *cursor, into *linkSet) (err error) {
	if into.kind, err = c.value(listed(linkTypes)); err != nil {
		return err
	}
	g := &vxlanSetGrammar
	switch into.kind {
	case "vxlan":
	case "udp":
		g = &udpSetGrammar
	default:
		return unknown("type", into.kind, linkTypes)
	}
	if into.asksLink {
		return usagef("words about the tunnel stand before `type %s`: they are allowed before it or behind it; put all in one place", into.kind)
	}
	if len(c.words) == 0 {
		return usagef("no word behind `type %s`: allowed are %s", into.kind, listed(g.names()))
	}
	return g.read(c, into)
}

// readLinkSet reads the words of `weft link set`.
func readLinkSet(words []string) (*linkSet, error) {
	var s linkSet
	if err := setWords.read(&cursor{words: words}, &s); err != nil {
		return nil, err
	}
	if s.name == "" {
		return nil, usagef("no name given: `link set` needs the name of a link")
	}
	return &s, nil
}

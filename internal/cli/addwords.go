package cli

import (
	"strings"

	"github.com/weftnet/weft/dataplane"
)

// newLink is what the words of `weft link add` say.
type newLink struct {
	cfg     dataplane.LinkConfig
	kind    string
	profile string // the word's; "" without
	hasVNI  bool
	hasPort bool
}

const (
	laterByIP   = "is not for `weft link add`: set it with `ip link set` once the link exists"
	laterByWeft = "is not for `weft link add`: set it with `weft link set` once the link exists"
)

// linkWords come before `type`, whose value selects the words behind it.
var linkWords = grammar[newLink]{
	words: map[string]word[newLink]{
		"name":    {"name", takeName},
		"dev":     {"name", takeName}, // `ip link add dev NAME` names the new device too
		"address": {"address", takeMAC},
		"mtu":     {"mtu", takeMTU},
		"type":    {"type", takeKind},
	},
	refused: reasons(
		laterByIP, "txqueuelen txqlen qlen arp multicast alias broadcast brd netns group",
		laterByWeft, "up down master",
		"belongs behind `type vxlan` or `type udp`", "l3 id vni remote local dstport srcport port ttl tos df flowlabel learning nolearning ageing maxaddress "+
			"proxy l2miss l3miss udpcsum noudpcsum profile allow-sources offload",
		"is not served", "link parentdev index numtxqueues numrxqueues gso_max_size gso_max_segs",
	),
	bare: bareName,
}

// reasons makes a table of refused words from pairs of a reason and the words,
// separated by spaces, that it is for.
func reasons(pairs ...string) map[string]string {
	table := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		for name := range strings.FieldsSeq(pairs[i+1]) {
			table[name] = pairs[i]
		}
	}
	return table
}

func takeName(c *cursor, into *newLink) (err error) {
	if into.cfg.Name != "" {
		return duplicate(into.cfg.Name, c.word)
	}
	into.cfg.Name, err = c.deviceName()
	return err
}

// bareName takes the first word that is no other as the link's name.
func bareName(c *cursor, into *newLink) (bool, error) {
	if into.cfg.Name != "" {
		return false, nil
	}
	if !validName(c.word) {
		return true, usagef("name %q is refused: allowed is %s", c.word, nameShape)
	}
	into.cfg.Name = c.word
	return true, nil
}

func takeMAC(c *cursor, into *newLink) (err error) {
	into.cfg.Address, err = c.mac()
	return err
}

func takeMTU(c *cursor, into *newLink) error {
	n, err := c.number("a size in bytes", 68, 65535)
	into.cfg.MTU = int(n)
	return err
}

// linkTypes are the types that there are.
var linkTypes = []string{"udp", "vxlan"}

// takeKind reads the link's type and then all words behind it.
func takeKind(c *cursor, into *newLink) (err error) {
	if into.kind, err = c.value(listed(linkTypes)); err != nil {
		return err
	}
	switch into.kind {
	case "vxlan":
		return vxlanWords.read(c, into)
	case "udp":
		into.cfg.Type = dataplane.TypeUDP
		return udpWords.read(c, into)
	}
	return unknown("type", into.kind, linkTypes)
}

// readNewLink reads the words of `weft link add`. The profile is that of a
// flag, or "".
func readNewLink(words []string, profile string) (*newLink, error) {
	if _, ok := profiles[profile]; !ok && profile != "" {
		return nil, usagef("`--profile %s` is refused: allowed is %s|%s", profile, profileKernel, profileRFC7348)
	}
	l := profiles[profile]
	if err := linkWords.read(&cursor{words: words}, &l); err != nil {
		return nil, err
	}
	if l.profile != "" && profile == "" {
		return readNewLink(words, l.profile) // once more, on what that profile says
	}
	if l.profile != "" && l.profile != profile {
		return nil, usagef("`--profile %s` and `profile %s` exclude each other: one is allowed; leave one out", profile, l.profile)
	}
	if l.cfg.Name == "" {
		return nil, usagef("no name given: `link add` needs the new device's, %s", nameShape)
	}
	if l.kind == "" {
		return nil, usagef("no type given: `link add` needs `type vxlan id VNI` or `type udp`")
	}
	return &l, l.check()
}

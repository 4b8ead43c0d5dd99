package cli

import (
	"net/netip"
	"strconv"

	"github.com/weftnet/weft/dataplane"
)

// vxlanWords come behind `type vxlan`.
var vxlanWords = grammar[newLink]{
	words: map[string]word[newLink]{
		"id":         {"id", takeVNI},
		"remote":     {"remote", takeRemote},
		"local":      {"local", takeLocal},
		"dev":        {"dev", takeDev},
		"dstport":    {"dstport", takePort},
		"srcport":    {"srcport", takeSourcePorts},
		"ttl":        {"ttl", takeTTL},
		"tos":        {"tos", takeTOS},
		"df":         {"df", takeDF},
		"flowlabel":  {"flowlabel", takeFlowLabel},
		"nolearning": {"learning", func(*cursor, *newLink) error { return nil }}, // nothing is learnt yet
		"offload":    {"offload", takeOffload},

		"udpcsum":          checksumWord("udpcsum", func(s *dataplane.Checksum) { s.NoUDP = false }),
		"noudpcsum":        checksumWord("udpcsum", func(s *dataplane.Checksum) { s.NoUDP = true }),
		"udp6zerocsumtx":   checksumWord("udp6zerocsumtx", func(s *dataplane.Checksum) { s.ZeroTx6 = true }),
		"noudp6zerocsumtx": checksumWord("udp6zerocsumtx", func(s *dataplane.Checksum) { s.ZeroTx6 = false }),
		"udp6zerocsumrx":   checksumWord("udp6zerocsumrx", func(s *dataplane.Checksum) { s.AcceptRx6 = true }),
		"noudp6zerocsumrx": checksumWord("udp6zerocsumrx", func(s *dataplane.Checksum) { s.AcceptRx6 = false }),
	},
	aliases: map[string]string{
		"vni": "id", "port": "srcport", "hoplimit": "ttl", "dsfield": "tos", "label": "flowlabel",
	},
	refused: reasons(
		"is not served yet", "learning ageing maxaddress group l3 queues",
		"of the kernel's device is not something that weft has", "external noexternal gpe nogpe gbp nogbp "+
			"remcsumtx noremcsumtx remcsumrx noremcsumrx remcsum_nopartial noremcsum_nopartial proxy noproxy rsc norsc "+
			"l2miss nol2miss l3miss nol3miss vnifilter novnifilter localbypass nolocalbypass mcroute nomcroute reserved_bits noreserved_bits",
		"belongs before `type`", "name address mtu",
	),
}

func takeVNI(c *cursor, into *newLink) error {
	n, err := c.number("a VNI", 0, dataplane.MaxVNI)
	into.cfg.VNI, into.hasVNI = uint32(n), true
	return err
}

func takeRemote(c *cursor, into *newLink) (err error) {
	if len(c.words) > 0 && isMulticast(c.words[0]) {
		return usagef("`remote %s` is refused: allowed is the address of one host; a multicast address goes with `group`, which is not served yet",
			c.words[0])
	}
	into.cfg.Remote, err = c.unicast()
	return err
}

func isMulticast(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.IsMulticast()
}

func takeLocal(c *cursor, into *newLink) (err error) {
	into.cfg.Local, err = c.unicast()
	return err
}

func takeDev(c *cursor, into *newLink) (err error) {
	into.cfg.Dev, err = c.deviceName()
	return err
}

func takePort(c *cursor, into *newLink) error {
	n, err := c.number("a UDP port", 0, 65535)
	into.cfg.Port, into.hasPort = uint16(n), true
	return err
}

func takeSourcePorts(c *cursor, into *newLink) error {
	low, err := c.number("the lowest UDP port", 0, 65535)
	if err != nil {
		return err
	}
	high, err := c.number("the port above the highest", 0, 65535)
	if err != nil {
		return err
	}
	if low > high {
		return usagef("`%s %d %d` is refused: srcport: minimum %[2]d above maximum %[3]d; allowed is MIN up to MAX, 0-65535", c.word, low, high)
	}
	into.cfg.SrcPortLow, into.cfg.SrcPortHigh = uint16(low), uint16(high)
	return nil
}

func takeTTL(c *cursor, into *newLink) error {
	const shape = "auto, inherit or 0-255 (0 is auto)"
	v, err := c.value(shape)
	if err != nil {
		return err
	}
	switch v {
	case "auto":
	case "inherit":
		into.cfg.TTLCopy = true
	default:
		n, ok := parseNumber(v, 255)
		if !ok {
			return c.wrong(v, shape)
		}
		into.cfg.TTL = uint8(n)
	}
	return nil
}

// takeTOS reads a hexadecimal number with or without 0x, as iproute2 does. The
// kernel takes 1 to mean inherit.
func takeTOS(c *cursor, into *newLink) error {
	const shape = "inherit or a hexadecimal number, 0-ff"
	v, err := c.value(shape)
	if err != nil {
		return err
	}
	if v == "inherit" {
		into.cfg.TOSCopy = true
		return nil
	}
	digits, _ := cutHex(v)
	n, err := strconv.ParseUint(digits, 16, 8)
	if err != nil {
		return c.wrong(v, shape)
	}
	if into.cfg.TOSCopy = n == 1; !into.cfg.TOSCopy {
		into.cfg.TOS = uint8(n)
	}
	return nil
}

func takeDF(c *cursor, into *newLink) error {
	v, err := c.choice(string(dataplane.DFUnset), string(dataplane.DFSet), string(dataplane.DFInherit))
	into.cfg.DF = dataplane.DFMode(v)
	return err
}

func takeFlowLabel(c *cursor, into *newLink) error {
	n, err := c.number("a flow label", 0, 1<<20-1)
	into.cfg.FlowLabel = uint32(n)
	return err
}

func takeOffload(c *cursor, into *newLink) error {
	v, err := c.choice("on", "off")
	into.cfg.NoOffload = v == "off"
	return err
}

func checksumWord(sets string, set func(*dataplane.Checksum)) word[newLink] {
	return word[newLink]{sets, func(_ *cursor, into *newLink) error {
		set(&into.cfg.Checksum)
		return nil
	}}
}

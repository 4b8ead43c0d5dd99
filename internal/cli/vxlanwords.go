package cli

import (
	"github.com/weftnet/weft/dataplane"
)

// vxlanWords come behind `type vxlan`.
var vxlanWords = grammar[newLink]{
	words: map[string]word[newLink]{
		"id":            {"id", takeVNI},
		"remote":        {"remote", takeRemote},
		"group":         {"remote", takeGroup},
		"local":         {"local", takeLocal},
		"dev":           {"dev", takeDev},
		"dstport":       {"dstport", takePort},
		"srcport":       {"srcport", takeSourcePorts},
		"ttl":           {"ttl", takeTTL},
		"tos":           {"tos", takeTOS},
		"df":            {"df", takeDF},
		"flowlabel":     {"flowlabel", takeFlowLabel},
		"ageing":        {"ageing", takeAgeing},
		"maxaddress":    {"maxaddress", takeAddressLimit},
		"allow-sources": {"allow-sources", takeSources},
		"profile":       {"profile", takeProfile},
		"offload":       {"offload", takeOffload},

		"l3":         flagWord("l3", func(c *dataplane.LinkConfig) { c.L3, c.NoLearning = true, true }),
		"learning":   flagWord("learning", func(c *dataplane.LinkConfig) { c.NoLearning = false }),
		"nolearning": flagWord("learning", func(c *dataplane.LinkConfig) { c.NoLearning = true }),
		"proxy":      flagWord("proxy", func(c *dataplane.LinkConfig) { c.Proxy = true }),
		"noproxy":    flagWord("proxy", func(c *dataplane.LinkConfig) { c.Proxy = false }),
		"l2miss":     flagWord("l2miss", func(c *dataplane.LinkConfig) { c.L2Miss = true }),
		"nol2miss":   flagWord("l2miss", func(c *dataplane.LinkConfig) { c.L2Miss = false }),
		"l3miss":     flagWord("l3miss", func(c *dataplane.LinkConfig) { c.L3Miss = true }),
		"nol3miss":   flagWord("l3miss", func(c *dataplane.LinkConfig) { c.L3Miss = false }),

		"udpcsum":          flagWord("udpcsum", func(c *dataplane.LinkConfig) { c.Checksum.NoUDP, c.Checksum.UDP = false, true }),
		"noudpcsum":        flagWord("udpcsum", func(c *dataplane.LinkConfig) { c.Checksum.NoUDP, c.Checksum.UDP = true, false }),
		"udp6zerocsumtx":   flagWord("udp6zerocsumtx", func(c *dataplane.LinkConfig) { c.Checksum.ZeroTx6 = true }),
		"noudp6zerocsumtx": flagWord("udp6zerocsumtx", func(c *dataplane.LinkConfig) { c.Checksum.ZeroTx6 = false }),
		"udp6zerocsumrx":   flagWord("udp6zerocsumrx", func(c *dataplane.LinkConfig) { c.Checksum.AcceptRx6 = true }),
		"noudp6zerocsumrx": flagWord("udp6zerocsumrx", func(c *dataplane.LinkConfig) { c.Checksum.AcceptRx6 = false }),
	},
	aliases: map[string]string{
		"vni": "id", "port": "srcport", "hoplimit": "ttl", "dsfield": "tos", "label": "flowlabel", "maxaddr": "maxaddress",
	},
	refused: reasons(
		"is not served yet", "queues",
		notInWeft, kernelOnly,
		"belongs before `type`", "name address mtu",
	),
}

// Words of the kernel's device for what it does and weft does not.
const (
	notInWeft  = "of the kernel's device is not something that weft has"
	kernelOnly = "external noexternal gpe nogpe gbp nogbp remcsumtx noremcsumtx remcsumrx noremcsumrx " +
		"remcsum_nopartial noremcsum_nopartial rsc norsc vnifilter novnifilter localbypass nolocalbypass " +
		"mcroute nomcroute reserved_bits noreserved_bits"
)

func takeVNI(c *cursor, into *newLink) (err error) {
	into.cfg.VNI, err = c.vni()
	into.hasVNI = true
	return err
}

func takeRemote(c *cursor, into *newLink) (err error) {
	into.cfg.Remote, err = c.remote()
	return err
}

func takeGroup(c *cursor, into *newLink) (err error) {
	into.cfg.Remote, err = c.group()
	return err
}

func takeLocal(c *cursor, into *newLink) (err error) {
	into.cfg.Local, err = c.unicast()
	return err
}

func takeDev(c *cursor, into *newLink) (err error) {
	into.cfg.Dev, err = c.deviceName()
	return err
}

func takePort(c *cursor, into *newLink) (err error) {
	into.cfg.Port, err = c.port()
	into.hasPort = true
	return err
}

func takeSourcePorts(c *cursor, into *newLink) (err error) {
	into.cfg.SrcPortLow, into.cfg.SrcPortHigh, err = c.sourcePorts()
	return err
}

func takeTTL(c *cursor, into *newLink) (err error) {
	into.cfg.TTL, into.cfg.TTLCopy, err = c.ttl()
	return err
}

func takeTOS(c *cursor, into *newLink) (err error) {
	into.cfg.TOS, into.cfg.TOSCopy, err = c.tos()
	return err
}

func takeDF(c *cursor, into *newLink) (err error) {
	into.cfg.DF, err = c.df()
	return err
}

func takeFlowLabel(c *cursor, into *newLink) (err error) {
	into.cfg.FlowLabel, err = c.flowLabel()
	return err
}

func takeAgeing(c *cursor, into *newLink) (err error) {
	into.cfg.Ageing, err = c.ageing()
	return err
}

func takeAddressLimit(c *cursor, into *newLink) (err error) {
	into.cfg.MaxAddress, err = c.addressLimit()
	return err
}

func takeSources(c *cursor, into *newLink) (err error) {
	into.cfg.AllowSources, err = c.prefixes()
	return err
}

func takeOffload(c *cursor, into *newLink) error {
	v, err := c.choice("on", "off")
	into.cfg.NoOffload = v == "off"
	return err
}

// flagWord is a word without a value that sets what sets names.
func flagWord(sets string, set func(*dataplane.LinkConfig)) word[newLink] {
	return word[newLink]{sets, func(_ *cursor, into *newLink) error {
		set(&into.cfg)
		return nil
	}}
}

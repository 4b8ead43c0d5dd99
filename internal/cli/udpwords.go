package cli

// defaultUDPPort is that of flannel's udp backend.
const defaultUDPPort = 8285

// udpWords come behind `type udp`.
var udpWords = grammar[newLink]{
	words: map[string]word[newLink]{
		"local":         {"local", takeLocal},
		"dev":           {"dev", takeDev},
		"port":          {"port", takePort},
		"offload":       {"offload", takeOffload},
		"allow-sources": {"allow-sources", takeSources},
	},
	refused: reasons(
		"is not served yet", "queues",
		"is of a link of type vxlan: one of type udp carries IP packets without any other header, to where `weft route` says",
		"id vni remote group dstport srcport ttl hoplimit tos dsfield df flowlabel learning nolearning ageing maxaddress proxy l2miss l3miss "+
			"udpcsum noudpcsum udp6zerocsumtx noudp6zerocsumtx udp6zerocsumrx noudp6zerocsumrx l3 profile",
		"belongs before `type`", "name mtu",
	),
}

// checkUDP refuses what goes with no link of type udp, and completes the
// configuration. An unspecified local address says which family the underlay is.
func (l *newLink) checkUDP() error {
	switch {
	case l.cfg.Address != "":
		return usagef("`address %s` is refused: the device of a link of type udp has no MAC address; leave it out", l.cfg.Address)
	case l.cfg.Local.Is6() && l.cfg.Local.IsLinkLocalUnicast():
		return usagef("`local %s` is link-local: allowed is an address that other hosts know", l.cfg.Local)
	case l.cfg.Profile != "":
		return usagef("`--profile %s` is refused: it is about links of type vxlan; leave it out", l.cfg.Profile)
	}
	if l.cfg.Local.Is4() {
		l.cfg.Local = specified(l.cfg.Local)
	}
	if l.cfg.Port == 0 {
		l.cfg.Port = defaultUDPPort
	}
	return checkSources(&l.cfg)
}

// checkL3 refuses what goes with no link that carries IP packets.
func (l *newLink) checkL3() error {
	if !l.cfg.L3 {
		return nil
	}
	for _, w := range []struct {
		word  string
		given bool
		why   string
	}{
		{"group", l.cfg.Remote.IsMulticast(), "each packet goes to one VTEP, which `weft route` names"},
		{"proxy", l.cfg.Proxy, "there are no neighbours on such a device"},
		{"l2miss", l.cfg.L2Miss, "there is no FDB"},
		{"l3miss", l.cfg.L3Miss, "there are no neighbours on such a device"},
		{"maxaddress", l.cfg.MaxAddress != 0, "there is no FDB"},
		{"ageing", l.cfg.Ageing != 0, "there is no FDB"},
	} {
		if w.given {
			return usagef("`%s` does not go with `l3`: %s; leave one out", w.word, w.why)
		}
	}
	l.cfg.NoLearning = true
	return nil
}

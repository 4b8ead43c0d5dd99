// Package netconf reads flannel's network config, the JSON text that stands in
// etcd under `<prefix>/config`, and holds against it what cannot work.
package netconf

import (
	"errors"
	"fmt"
	"net/netip"
)

// Config is what the nodes of one network have in common.
type Config struct {
	IPv4       Range
	IPv6       Range // the zero Range unless EnableIPv6
	EnableNFT  bool  // EnableNFTables: rules in nftables instead of iptables
	Backend    Backend
	Unexpected []string // a sentence for each key that nothing reads
}

// document is the text as written, before defaults.
type document struct {
	enableIPv4, enableIPv6, enableNFT bool

	ipv4, ipv6 Range
	backend    []byte // nil where absent
}

var documentKeys = keys[document]{
	{"Network", prefix(func(d *document) *netip.Prefix { return &d.ipv4.Network })},
	{"SubnetLen", whole(0, 30, func(d *document) *int { return &d.ipv4.SubnetLen })},
	{"SubnetMin", address(func(d *document) *netip.Addr { return &d.ipv4.Min })},
	{"SubnetMax", address(func(d *document) *netip.Addr { return &d.ipv4.Max })},
	{"IPv6Network", prefix(func(d *document) *netip.Prefix { return &d.ipv6.Network })},
	{"IPv6SubnetLen", whole(0, 126, func(d *document) *int { return &d.ipv6.SubnetLen })},
	{"IPv6SubnetMin", address(func(d *document) *netip.Addr { return &d.ipv6.Min })},
	{"IPv6SubnetMax", address(func(d *document) *netip.Addr { return &d.ipv6.Max })},
	{"EnableIPv4", truth(func(d *document) *bool { return &d.enableIPv4 })},
	{"EnableIPv6", truth(func(d *document) *bool { return &d.enableIPv6 })},
	{"EnableNFTables", truth(func(d *document) *bool { return &d.enableNFT })},
	{"Backend", func(d *document, v []byte) error { d.backend = v; return nil }},
}

// Parse reads the text of a config. Its error says what a person has to change.
func Parse(text []byte) (*Config, error) {
	members, err := object(text)
	if err != nil {
		return nil, err
	}
	doc := document{enableIPv4: true}
	unexpected, err := documentKeys.read(members, &doc)
	if err != nil {
		return nil, err
	}
	cfg := &Config{EnableNFT: doc.enableNFT, Unexpected: unexpected}
	if err := cfg.setRanges(doc); err != nil {
		return nil, err
	}
	if err := cfg.setBackend(doc.backend); err != nil {
		return nil, err
	}
	return cfg, nil
}

func (c *Config) setRanges(doc document) (err error) {
	if !doc.enableIPv4 {
		return errors.New("EnableIPv4 is false: the keys of leases in etcd begin with an IPv4 subnet, " +
			"so a network of IPv6 alone is not possible; leave EnableIPv4 true and set EnableIPv6 beside it")
	}
	if c.IPv4, err = doc.ipv4.complete(ipv4); err != nil || !doc.enableIPv6 {
		return err
	}
	c.IPv6, err = doc.ipv6.complete(ipv6)
	return err
}

func (c *Config) setBackend(text []byte) error {
	backend, unexpected, err := parseBackend(text)
	if err != nil {
		return fmt.Errorf("Backend: %w", err)
	}
	if b, ok := backend.(*VXLAN); ok {
		if err := b.fits(c.IPv6.Enabled()); err != nil {
			return fmt.Errorf("Backend: %s: %w", TypeVXLAN, err)
		}
	}
	c.Backend = backend
	for _, u := range unexpected {
		c.Unexpected = append(c.Unexpected, "Backend: "+u)
	}
	return nil
}

package netconf

import (
	"encoding/json"
	"net/netip"
	"testing"
)

// What is taken has subnets that lie in their network and a backend; what is
// no JSON object is not taken.
func FuzzParse(f *testing.F) {
	f.Add(`{"Network":"10.0.0.0/16"}`)
	f.Add(`{"Network":"10.0.0.0/8","SubnetLen":20,"SubnetMin":"10.10.0.0","SubnetMax":"10.99.0.0","Backend":{"Type":"udp","Port":7890}}`)
	f.Add(`{"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48","Backend":{"Type":"vxlan","VNI":9}}`)
	f.Add(`‘{Network:`)
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := Parse([]byte(text))
		if err != nil {
			if cfg != nil {
				t.Fatal("a config beside", err)
			}
			return
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		if cfg.Backend == nil || !cfg.IPv4.Enabled() {
			t.Fatalf("%+v", cfg)
		}
		for _, r := range []Range{cfg.IPv4, cfg.IPv6} {
			if !r.Enabled() {
				continue
			}
			for _, end := range []netip.Addr{r.Min, r.Max} {
				if p, err := end.Prefix(r.SubnetLen); err != nil || !r.Allows(p) || !r.Network.Overlaps(p) {
					t.Fatalf("%v of %+v: %v", end, r, err)
				}
			}
		}
	})
}

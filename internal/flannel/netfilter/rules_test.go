//go:build linux

package netfilter_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/netfilter"
)

func network(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		r    netfilter.Rules
		want string
	}{
		{"no subnet", netfilter.Rules{Network: network4}, "go together"},
		{"no network", netfilter.Rules{Subnet6: subnet6[0]}, "go together"},
		{"another family", netfilter.Rules{Network: network6, Subnet: subnet6[0]}, "are not IPv4"},
		{"another network", netfilter.Rules{Network: network4, Subnet: network("10.0.1.0/24")}, "is not a part of"},
		{"larger", netfilter.Rules{Network: subnet4[0], Subnet: network4}, "is not a part of"},
	} {
		err := netfilter.New(zap.NewNop(), nil).Apply(context.Background(), c.r)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", c.name, err, c.want)
		}
	}
}

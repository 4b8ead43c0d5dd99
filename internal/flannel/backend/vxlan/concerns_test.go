package vxlan

import (
	"testing"

	"github.com/weftnet/weft/internal/flannel/hostroutes"
	"github.com/weftnet/weft/internal/flannel/netconf"
)

// When more has changed than the kernel could tell, a route may be among it that
// somebody took away, whether or not peers may be near.
func TestConcerns(t *testing.T) {
	for _, routing := range []bool{false, true} {
		o := &overlay{direct: newDirect(netconf.Range{}, routing)}
		if !o.concerns(hostroutes.Change{All: true}) || o.concerns(hostroutes.Change{Devices: []int{7}}) {
			t.Errorf("with direct routing %v", routing)
		}
	}
}

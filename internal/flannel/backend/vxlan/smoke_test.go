package vxlan_test

import (
	"testing"

	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/lab"
)

const seed002 = `{"Network": "172.7.0.0/16", "Backend": {"Type": "VxLAN"}}`

func TestTwoNodes(t *testing.T) {
	for _, kinds := range [][2]vxlan.Datapath{{vxlan.User, vxlan.User}, {vxlan.User, vxlan.Kernel}, {vxlan.Kernel, vxlan.User}, {vxlan.Kernel, vxlan.Kernel}} {
		t.Run(string(kinds[0])+"-"+string(kinds[1]), func(t *testing.T) {
			hosts := lan(t, "h1", "h2")
			a := hosts[0].agent(seed002, kinds[0], subnet4("172.7.21.0/24"))
			b := hosts[1].agent(seed002, kinds[1], subnet4("172.7.22.0/24"))
			check(t, a.reset(b.own))
			check(t, b.reset(a.own))
			check(t, a.Ping(addr("172.7.22.0"), lab.PingOptions{Count: 3}).Lost())
			check(t, b.Ping(addr("172.7.21.0"), lab.PingOptions{Count: 3}).Lost())
		})
	}
}

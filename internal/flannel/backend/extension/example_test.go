package extension

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ip" {
		if err := actAsIP(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		return
	}
	lab.Main(m)
}

// actAsIP does what `ip route add|del PREFIX via ADDRESS` does, on machines
// that have no ip.
func actAsIP(args []string) error {
	if len(args) != 5 || args[0] != "route" || args[3] != "via" {
		return fmt.Errorf("unexpected words %q", args)
	}
	_, dst, err := net.ParseCIDR(args[2])
	if err != nil {
		return err
	}
	route := &netlink.Route{Dst: dst, Gw: net.ParseIP(args[4])}
	if args[1] == "del" {
		return netlink.RouteDel(route)
	}
	return netlink.RouteAdd(route)
}

// The example of flannel's documentation, quotes included, routes packets.
func TestExampleOfTheDocumentation(t *testing.T) {
	h, peer := lab.TestPair(t)
	t.Setenv(control.EnvRunDir, filepath.Join(t.TempDir(), "run"))
	bin := t.TempDir()
	self, err := os.Executable()
	check(t, err)
	check(t, os.Symlink(self, filepath.Join(bin, "ip")))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	cfg, err := netconf.Parse([]byte(`{
  "Network": "10.0.0.0/16",
  "Backend": {
    "Type": "extension",
    "SubnetAddCommand": "ip route add \"$SUBNET\" via \"$PUBLIC_IP\"",
    "SubnetRemoveCommand": "ip route del \"$SUBNET\" via \"$PUBLIC_IP\""
  }
}`))
	check(t, err)
	x := New(backend.Node{Interface: "eth0", MTU: 1500, Public: lab.PairA4.Addr()}, cfg, zap.NewNop())
	there := lease.Lease{
		Subnet: lease.Subnet{IPv4: prefix("10.0.5.0/24")},
		Record: lease.Record{PublicIP: lab.PairB4.Addr(), BackendType: netconf.TypeExtension},
	}
	container := prefix("10.0.5.2/24")
	check(t, peer.AddAddr("lo", container))
	check(t, h.Do(func() error { return x.Reset(background, []lease.Lease{there}) }))
	check(t, h.Ping(container.Addr(), lab.PingOptions{}).Lost())
	gone := []registry.Event{{Kind: registry.Removed, Lease: there}}
	check(t, h.Do(func() error { return x.Apply(background, gone) }))
	if h.Ping(container.Addr(), lab.PingOptions{}).Received > 0 {
		t.Error("the route stays")
	}
}

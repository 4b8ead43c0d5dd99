package cli

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane"
)

func TestVXLANLine(t *testing.T) {
	type config = dataplane.LinkConfig
	for want, cfg := range map[string]config{
		"id 5 remote 10.99.0.2 local 10.99.0.1 dev eth0 srcport 0 0 dstport 4789 ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx": link(func(c *config) {
			c.Remote, c.Local, c.Dev = ip("10.99.0.2"), ip("10.99.0.1"), "eth0"
		}),
		"id 5 remote fd00::1 srcport 100 200 dstport 4789 tos 0x10 ttl 5 df set flowlabel 0xabc ageing 300 noudpcsum udp6zerocsumtx udp6zerocsumrx": link(func(c *config) {
			c.Remote, c.SrcPortLow, c.SrcPortHigh, c.TOS, c.TTL, c.DF, c.FlowLabel = ip("fd00::1"), 100, 200, 0x10, 5, dataplane.DFSet, 0xabc
			c.Checksum = dataplane.Checksum{NoUDP: true, ZeroTx6: true, AcceptRx6: true}
		}),
		"id 5 srcport 0 0 dstport 4789 tos inherit ttl inherit df inherit ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx": link(func(c *config) {
			c.TOSCopy, c.TTLCopy, c.DF = true, true, dataplane.DFInherit
		}),
	} {
		if got := strings.Join(vxlanLine(&dataplane.LinkInfo{LinkConfig: cfg}), " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestFeatureLineSaysWhyNot(t *testing.T) {
	got := strings.Join(featureLine(map[string]string{"dev_uso": "needs Linux 6.2", "dev_gso": "on", "udp_gro": "off"}), " ")
	if want := "dev_gso on dev_uso off (needs Linux 6.2) udp_gro off"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFlagNames(t *testing.T) {
	for want, flags := range map[string]uint32{
		"BROADCAST,MULTICAST":               unix.IFF_BROADCAST | unix.IFF_MULTICAST,
		"BROADCAST,MULTICAST,UP,LOWER_UP":   unix.IFF_BROADCAST | unix.IFF_MULTICAST | unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP,
		"NO-CARRIER,BROADCAST,MULTICAST,UP": unix.IFF_BROADCAST | unix.IFF_MULTICAST | unix.IFF_UP,
	} {
		if got := strings.Join(flagNames(flags), ","); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestOperState(t *testing.T) {
	for state, want := range map[netlink.LinkOperState]string{
		netlink.OperUnknown: "UNKNOWN", netlink.OperUp: "UP", netlink.OperDown: "DOWN", netlink.OperLowerLayerDown: "LOWERLAYERDOWN",
	} {
		if got := operState(&netlink.LinkAttrs{OperState: state}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

package cli

import (
	"encoding/json"
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
		"id 5 group 239.1.1.1 dev rv0 srcport 0 0 dstport 4789 ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx": link(func(c *config) {
			c.Remote, c.Dev = ip("239.1.1.1"), "rv0"
		}),
		"id 5 srcport 0 0 dstport 4789 nolearning proxy l2miss l3miss tos 0x10 ttl 4 df set ageing 20 maxaddr 5 noudpcsum noudp6zerocsumtx noudp6zerocsumrx": link(func(c *config) {
			c.NoLearning, c.Proxy, c.L2Miss, c.L3Miss, c.MaxAddress, c.Ageing = true, true, true, true, 5, 20
			c.TTL, c.TOS, c.DF, c.Checksum.NoUDP = 4, 0x10, dataplane.DFSet, true
		}),
	} {
		if got := strings.Join(vxlanLine(&dataplane.LinkInfo{LinkConfig: cfg}), " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// The objects are those of `ip -d -j link` (iproute2 6.1) for the same words.
func TestVXLANDataOfJSON(t *testing.T) {
	type config = dataplane.LinkConfig
	for want, cfg := range map[string]config{
		`{"id":5,"port_range":{"low":0,"high":0},"port":4789,"learning":true,"ttl":0,"df":"unset","ageing":300,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}`: link(nil),
		`{"id":5,"group":"239.1.1.1","link":"rv0","port_range":{"low":0,"high":0},"port":4789,"learning":true,"ttl":0,"df":"unset","ageing":300,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}`: link(func(c *config) {
			c.Remote, c.Dev = ip("239.1.1.1"), "rv0"
		}),
		`{"id":5,"group6":"ff05::1","link":"rv0","port_range":{"low":0,"high":0},"port":4789,"learning":true,"ttl":0,"df":"unset","ageing":300,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}`: link(func(c *config) {
			c.Remote, c.Dev = ip("ff05::1"), "rv0"
		}),
		`{"id":5,"remote6":"2001:db8::2","port_range":{"low":0,"high":0},"port":4789,"learning":false,"proxy":true,"ttl":0,"df":"unset","label":"0x5","ageing":300,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}`: link(func(c *config) {
			c.Remote, c.FlowLabel, c.NoLearning, c.Proxy = ip("2001:db8::2"), 5, true, true
		}),
		`{"id":5,"port_range":{"low":0,"high":0},"port":4789,"learning":false,"proxy":true,"l2miss":true,"l3miss":true,"tos":"0x10","ttl":4,"df":"set","ageing":20,"limit":5,"udp_csum":false,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}`: link(func(c *config) {
			c.NoLearning, c.Proxy, c.L2Miss, c.L3Miss, c.MaxAddress, c.Ageing = true, true, true, true, 5, 20
			c.TTL, c.TOS, c.DF, c.Checksum.NoUDP = 4, 0x10, dataplane.DFSet, true
		}),
	} {
		got, err := json.Marshal(vxlanAsJSON(&dataplane.LinkInfo{LinkConfig: cfg}))
		if err != nil || string(got) != want {
			t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
		}
	}
}

func TestOwnLines(t *testing.T) {
	for want, cfg := range map[string]dataplane.LinkConfig{
		"": link(nil),
		"    profile rfc7348\n    allow-sources 192.0.2.0/24 198.51.100.7/32\n": link(func(c *dataplane.LinkConfig) {
			c.Profile, c.AllowSources = "rfc7348", prefixes("192.0.2.0/24", "198.51.100.7/32")
		}),
	} {
		var out strings.Builder
		writeOwn(&out, &dataplane.LinkInfo{LinkConfig: cfg})
		if out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	}
}

func TestFeatureLineSaysWhyNot(t *testing.T) {
	got := strings.Join(featureLine(map[string]string{"dev_uso": "off (needs Linux 6.2)", "dev_gso": "on", "udp_gro": "off"}), " ")
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

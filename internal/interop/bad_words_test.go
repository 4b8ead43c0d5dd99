package interop

import (
	"strings"
	"testing"
)

// TestBadWords gives words that could never work: the message names the word,
// says what is allowed, and nothing is changed, with a daemon or without.
func TestBadWords(t *testing.T) {
	t.Parallel()
	cases := []struct{ line, names, allowed string }{
		{"link add vx type vxlan id 16777216", "16777216", "16777215"},
		{"link add vx type vxlan id five", "five", "0-16777215"},
		{"link add vx type vxlan id", "id", "0-16777215"},
		{"link add vx type vxlan", "id", "0-16777215"},
		{"link add vx type", "type", "vxlan"},
		{"link add vx", "type", "vxlan"},
		{"link add", "name", "15 bytes"},
		{"link add a-name-too-long- type vxlan id 5", "a-name-too-long-", "15 bytes"},
		{"link add a/b type vxlan id 5", "a/b", "without"},
		{"link add vx type vlan id 5", "vlan", "vxlan"},
		{"link add vx type udp id 5", "id", "port"},
		{"link add vx type vxlan id 5 id 6", "id", "once"},
		{"link add vx type vxlan id 5 remote 10.0.0.256", "10.0.0.256", "IPv4"},
		{"link add vx type vxlan id 5 remote 239.1.1.1", "239.1.1.1", "group"},
		{"link add vx type vxlan id 5 group 239.1.1.1", "239.1.1.1", "dev IF"},
		{"link add vx type vxlan id 5 group 10.0.0.1 dev eth0", "10.0.0.1", "remote"},
		{"link add vx type vxlan id 5 allow-sources 10.0.0.1/8", "10.0.0.1/8", "10.0.0.0/8"},
		{"link add vx type vxlan id 5 local nobody", "nobody", "IPv4"},
		{"link add vx type vxlan id 5 remote 10.0.0.1 local fd00::1", "fd00::1", "both"},
		{"link add vx type vxlan id 5 remote fe80::1", "fe80::1", "link-local"},
		{"link add vx type vxlan id 5 dstport 65536", "65536", "65535"},
		{"link add vx type vxlan id 5 srcport 5000", "srcport", "65535"},
		{"link add vx type vxlan id 5 srcport 5000 4000", "5000 4000", "MIN"},
		{"link add vx type vxlan id 5 ttl 256", "256", "0-255"},
		{"link add vx type vxlan id 5 tos 100", "100", "0-ff"},
		{"link add vx type vxlan id 5 df maybe", "maybe", "unset|set|inherit"},
		{"link add vx type vxlan id 5 flowlabel 1048576 remote fd00::1", "1048576", "1048575"},
		{"link add vx type vxlan id 5 flowlabel 1 remote 10.0.0.1", "flowlabel", "IPv6"},
		{"link add vx type vxlan id 5 offload maybe", "maybe", "on|off"},
		{"link add vx type vxlan id 5 external", "external", "remote"},
		{"link add vx type vxlan id 5 gpe", "gpe", "remote"},
		{"link add vx type vxlan id 5 remcsumtx", "remcsumtx", "udpcsum"},
		{"link add vx type vxlan id 5 vnifilter", "vnifilter", "id"},
		{"link add vx type vxlan id 5 udpcsum noudpcsum", "noudpcsum", "one"},
		{"link add vx type vxlan id 5 romote 10.0.0.1", "romote", "remote"},
		{"link add vx mtu 67 type vxlan id 5", "67", "68-65535"},
		{"link add vx mtu 65536 type vxlan id 5", "65536", "68-65535"},
		{"link add vx address 01:00:5e:00:00:01 type vxlan id 5", "01:00:5e:00:00:01", "unicast"},
		{"link add vx address 02:00 type vxlan id 5", "02:00", "unicast"},
		{"link add vx up type vxlan id 5", "up", "weft link set"},
		{"link del", "name", "link"},
		{"link remove vx", "remove", "del"},
		{"link show vx vy", "vy", "name"},
		{"linc show", "linc", "link"},
		{"link show --jason", "jason", "-h"},
		{"daemon here", "here", "leave it out"},
		{"completion tcsh", "tcsh", "bash|zsh|fish|powershell"},
		{"stats vx vy", "vy", "name"},
		{"version 2", "2", "leave it out"},
		{"", "command", "link"},
	}
	without := newScene(t, newLoneWeft(t))
	served := newLoneWeft(t)
	served.must(addWords("vxlan0", 9)...)
	with := newScene(t, served)
	for i, c := range cases {
		t.Run(strings.ReplaceAll(c.line, " ", "_"), func(t *testing.T) {
			without.refused(t, 2, strings.Fields(c.line), c.names, c.allowed)
			if i%4 == 0 {
				with.refused(t, 2, strings.Fields(c.line), c.names, c.allowed)
			}
		})
	}
}

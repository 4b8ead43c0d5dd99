package netconf

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }

func v4(network string, length int, lo, hi string) Range {
	return Range{pfx(network), length, addr(lo), addr(hi)}
}

// Texts of the tutorials, of flannel's documents and of its tests.
func TestParse(t *testing.T) {
	udp := &UDP{Port: 8285}
	ten := v4("10.0.0.0/16", 24, "10.0.1.0", "10.0.255.0")
	for text, want := range map[string]Config{
		`{ "Network": "10.0.0.0/16" }`:                                     {IPv4: ten, Backend: udp},
		`{"Network":"10.0.0.0/16","Backend":null}`:                         {IPv4: ten, Backend: udp},
		`{"Network":"10.0.77.8/16"}`:                                       {IPv4: ten, Backend: udp},
		`{"network":"10.0.0.0/16","BACKEND":{"tYPE":"UDP","port":7890}}`:   {IPv4: ten, Backend: &UDP{Port: 7890}},
		`{"Network":"10.1.0.0/16","Network":"10.0.0.0/16"}`:                {IPv4: ten, Backend: udp},
		`{"Network":"10.0.0.0/16","SubnetLen":null,"SubnetMin":"0.0.0.0"}`: {IPv4: ten, Backend: udp},
		`{"Network":"10.0.0.0/16","EnableNFTables":true}`:                  {IPv4: ten, Backend: udp, EnableNFT: true},

		`{"Network":"172.7.0.0/16","Backend":{"Type":"VxLAN","Directrouting":true}}`: {
			IPv4: v4("172.7.0.0/16", 24, "172.7.1.0", "172.7.255.0"), Backend: &VXLAN{VNI: 1, Port: 8472, DirectRouting: true},
		},
		`{"Network":"172.7.0.0/16","Backend":{"Type":"host-gw"}}`: {
			IPv4: v4("172.7.0.0/16", 24, "172.7.1.0", "172.7.255.0"), Backend: &HostGW{},
		},
		`{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan","VNI":9999999,"MTU":118}}`: {IPv4: ten, Backend: &VXLAN{VNI: 9999999, Port: 8472, MTU: 118}},
		`{"Network":"10.3.0.0/22"}`: {IPv4: v4("10.3.0.0/22", 24, "10.3.1.0", "10.3.3.0"), Backend: udp},
		`{"Network":"10.3.0.0/23"}`: {IPv4: v4("10.3.0.0/23", 25, "10.3.0.128", "10.3.1.128"), Backend: udp},
		`{"Network":"10.3.0.0/28"}`: {IPv4: v4("10.3.0.0/28", 30, "10.3.0.4", "10.3.0.12"), Backend: udp},
		`{"Network":"10.0.0.0/8","SubnetLen":20,"SubnetMin":"10.10.0.0","SubnetMax":"10.99.0.0","Backend":{"Type":"vxlan","VNI":70000,"Port":4789,"GBP":true,"Learning":true,"MTU":9000,"Name":"flannel.9","MacPrefix":"0E-2A"}}`: {
			IPv4:    v4("10.0.0.0/8", 20, "10.10.0.0", "10.99.0.0"),
			Backend: &VXLAN{VNI: 70000, Port: 4789, GBP: true, Learning: true, MTU: 9000},
		},
		`{"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48","Backend":{"Type":"vxlan"}}`: {
			IPv4: ten, IPv6: v4("fc00::/48", 64, "fc00:0:0:1::", "fc00:0:0:ffff::"), Backend: &VXLAN{VNI: 1, Port: 8472},
		},
		`{"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/112"}`: {
			IPv4: ten, IPv6: v4("fc00::/112", 114, "fc00::4000", "fc00::c000"), Backend: udp,
		},
		`{"Network":"10.0.0.0/16","IPv6Network":"fc00::/48","IPv6SubnetLen":3}`: {IPv4: ten, Backend: udp}, // not enabled, not looked at
		`{"Network":"10.0.0.0/16","Backend":{"Type":"alloc"}}`:                  {IPv4: ten, Backend: &Alloc{}},
		`{"Network":"10.0.0.0/16","Backend":{"Type":"extension","PreStartupCommand":"a","PostStartupCommand":"b","SubnetAddCommand":"c","SubnetRemoveCommand":"d"}}`: {
			IPv4: ten, Backend: &Extension{"a", "b", "c", "d"},
		},
	} {
		got, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s:\n got %+v %+v\nwant %+v %+v", text, *got, got.Backend, want, want.Backend)
		}
	}
}

func TestParseWarns(t *testing.T) {
	cfg, err := Parse([]byte(`{"Networc":"1.0.0.0/8","Network":"10.0.0.0/16","zz":1,"Backend":{"Type":"vxlan","DirectRoutin":true,"PSK":""}}`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`key "Networc" is unknown and has no effect; did you mean "Network"?`,
		`key "zz" is unknown and has no effect; known are Network, SubnetLen,`,
		`Backend: key "DirectRoutin" is unknown and has no effect; did you mean "DirectRouting"?`,
		`Backend: key "PSK" is unknown`,
	} {
		if i >= len(cfg.Unexpected) || !strings.HasPrefix(cfg.Unexpected[i], want) {
			t.Errorf("warning %d of %q, want %s", i, cfg.Unexpected, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const ten = `{"Network":"10.0.0.0/16",`
	for text, want := range map[string]string{
		``:                              "the text is empty",
		` `:                             "the text is empty",
		`{}`:                            "Network: wanted is the address range",
		`[1]`:                           "wanted is a JSON object",
		`"abc"`:                         "wanted is a JSON object",
		`‘{Network:`:                    `byte 1, before "\u2018{Network:": it has typographic quotes`,
		`{“Network”:“10.0.0.0/16”}`:     `byte 2, before "\u201cNetwork\u201d`,
		`{Network:172.7.0.0/16}`:        `the shell takes them away`,
		`{"Network":"10.0.0.0/16"`:      `its end, which comes too soon`,
		`{"Network":"10.0.0.0/16"} x`:   `byte 27, before "x"`,
		`{"Network":10}`:                `Network: wanted is an address range such as "10.42.0.0/16", found 10`,
		`{"Network":"10.0.0.0"}`:        `found "10.0.0.0"`,
		`{"Network":"fc00::/48"}`:       `found fc00::/48`,
		`{"Network":"0.0.0.0/0"}`:       `found 0.0.0.0/0`,
		`{"Network":"10.0.0.0/29"}`:     "Network 10.0.0.0/29 is too small: at least four subnets of four addresses have to fit, so /28",
		ten + `"SubnetLen":17}`:         "SubnetLen 17: Network 10.0.0.0/16 has to hold at least four subnets, so 18 to 30 is allowed",
		ten + `"SubnetLen":31}`:         "SubnetLen: wanted is a number from 0 to 30, found 31",
		ten + `"SubnetLen":"24"}`:       `found "24"`,
		ten + `"SubnetMin":"10.1.0.0"}`: "SubnetMin 10.1.0.0 is not in Network 10.0.0.0/16",
		ten + `"SubnetMax":"10.0.9.1"}`: "SubnetMax 10.0.9.1 is not where a subnet of length 24 begins; 10.0.9.0 is",
		ten + `"SubnetMin":"10.0.9.0","SubnetMax":"10.0.8.0"}`: "no subnet is left",
		ten + `"SubnetMin":"x"}`:                               `SubnetMin: wanted is an address`,
		ten + `"SubnetMin":"::1"}`:                             `SubnetMin ::1 is not in`,
		ten + `"EnableIPv4":false}`:                            "a network of IPv6 alone is not possible",
		ten + `"EnableIPv4":"yes"}`:                            `EnableIPv4: wanted is true or false, found "yes"`,
		ten + `"EnableIPv6":true}`:                             "IPv6Network: wanted is the address range of the overlay, such as \"fd00:42::/48\"; found none",
		ten + `"EnableIPv6":true,"IPv6Network":"10.0.0.0/8"}`:  "IPv6Network: wanted",
		ten + `"Backend":{"Type":"vxlan","VNI":10000000}}`:     "Backend: vxlan: VNI 10000000: the device flannel.10000000 would have a longer name than Linux allows, which is 15 bytes; 9999999 is the largest",
		ten + `"Backend":{"Type":"vxlan","MTU":117}}`:          "Backend: vxlan: MTU 117 is that of the underlay, of which VXLAN leaves too little for IP: 118 is the least",
		ten + `"EnableIPv6":true,"IPv6Network":"fc00::/48","Backend":{"Type":"vxlan","VNI":10000}}`: "the device flannel-v6.10000 would have a longer name than Linux allows, which is 15 bytes; 9999 is",
		ten + `"EnableIPv6":true,"IPv6Network":"fc00::/48","Backend":{"Type":"vxlan","MTU":1349}}`:  "1350 is the least",
		ten + `"EnableIPv6":true,"IPv6Network":"fc00::/125"}`:                                       "IPv6Network fc00::/125 is too small",
		ten + `"Backend":{}}`:                              "Backend: no Type: it is one of alloc, extension, host-gw, udp, vxlan",
		ten + `"Backend":"vxlan"}`:                         `Backend: wanted is a JSON object`,
		ten + `"Backend":{"Type":1}}`:                      "Backend: Type: wanted is a text in double quotes, found 1",
		ten + `"Backend":{"Type":"vxlam"}}`:                `unknown Type "vxlam"; did you mean "vxlan"?`,
		ten + `"Backend":{"Type":"qqqqqqqqqqqq"}}`:         `unknown Type "qqqqqqqqqqqq"; served are`,
		ten + `"Backend":{"Type":"aws-vpc"}}`:              "use Type extension",
		ten + `"Backend":{"Type":"GCE"}}`:                  "use Type extension",
		ten + `"Backend":{"Type":"wireguard"}}`:            "not served here",
		ten + `"Backend":{"Type":"vxlan","VNI":16777216}}`: "Backend: vxlan: VNI: wanted is a number from 0 to 16777215, found 16777216",
		ten + `"Backend":{"Type":"vxlan","Port":-1}}`:      "Port: wanted is a number from 0 to 65535, found -1",
		ten + `"Backend":{"Type":"udp","Port":65536}}`:     "found 65536",
	} {
		cfg, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("%s is taken: %+v", text, cfg)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}

func TestAllows(t *testing.T) {
	r := v4("10.0.0.0/16", 24, "10.0.1.0", "10.0.9.0")
	for p, want := range map[string]bool{
		"10.0.0.0/24": false, "10.0.1.0/24": true, "10.0.9.0/24": true, "10.0.10.0/24": false,
		"10.0.5.0/25": false, "10.0.4.0/23": false, "fc00::/64": false, "10.0.5.1/24": true,
	} {
		if got := r.Allows(pfx(p)); got != want {
			t.Errorf("%s: %v", p, got)
		}
	}
	if r.Allows(netip.Prefix{}) || !(Range{}).Allows(netip.Prefix{}) || (Range{}).Allows(pfx("fc00::/64")) {
		t.Error("a family that is off has no subnet, and one that is on has one")
	}
}

func TestAfter(t *testing.T) {
	for p, want := range map[string]string{
		"10.0.0.0/24": "10.0.1.0", "10.0.0.255/32": "10.0.1.0", "10.0.0.9/8": "11.0.0.0",
		"fc00::/64": "fc00:0:0:1::", "fc00::ffff/128": "fc00::1:0",
	} {
		if got := After(pfx(p)); got != addr(want) {
			t.Errorf("%s: %v, want %s", p, got, want)
		}
	}
	if a := After(pfx("255.255.255.0/24")); a.IsValid() {
		t.Error("behind the last address of all stands", a)
	}
}

package cli

import (
	"reflect"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/routetable"
)

func TestWordsOfRoutedLinks(t *testing.T) {
	type config = dataplane.LinkConfig
	for line, want := range map[string]config{
		"flannel0 type udp":                           {Name: "flannel0", Type: "udp", Port: 8285},
		"flannel0 mtu 1472 type udp port 0":           {Name: "flannel0", Type: "udp", Port: 8285, MTU: 1472},
		"flannel0 type udp local 192.0.2.1 port 7890": {Name: "flannel0", Type: "udp", Port: 7890, Local: ip("192.0.2.1")},
		"f type udp local 0.0.0.0 dev eth0":           {Name: "f", Type: "udp", Port: 8285, Dev: "eth0"},
		"f type udp local :: offload off":             {Name: "f", Type: "udp", Port: 8285, Local: ip("::"), NoOffload: true},
		"f type udp allow-sources 192.0.2.0/24":       {Name: "f", Type: "udp", Port: 8285, AllowSources: prefixes("192.0.2.0/24")},
		"address 2:0:0:0:0:1 x type vxlan id 1 l3":    {Name: "x", VNI: 1, Port: 8472, L3: true, NoLearning: true, Address: "02:00:00:00:00:01"},
		"x type vxlan id 1 l3 nolearning df set":      {Name: "x", VNI: 1, Port: 8472, L3: true, NoLearning: true, DF: "set"},
	} {
		l, err := readNewLink(strings.Fields(line), "")
		if err != nil || !reflect.DeepEqual(l.cfg, want) {
			t.Errorf("%s: %+v, %v, want %+v", line, l, err, want)
			continue
		}
		if warned := l.warning() != ""; warned != (want.Port == 8472) {
			t.Errorf("%s: warning %q", line, l.warning())
		}
	}
}

func TestRefusalsOfRoutedLinks(t *testing.T) {
	for line, want := range map[string][]string{
		"f type upd":                                 {`unknown type "upd"`, "udp, vxlan"},
		"f type udp id 5":                            {"`id` is of a link of type vxlan", "`weft route`"},
		"f type udp remote 192.0.2.1":                {"`remote` is of a link of type vxlan"},
		"f type udp l3":                              {"`l3` is of a link of type vxlan"},
		"f type udp queues 2":                        {"`queues` is not served yet"},
		"f type udp port 65536":                      {"`port 65536`"},
		"f type udp port 1 port 2":                   {"`port` is given twice"},
		"f type udp mtu 1400":                        {"`mtu` belongs before `type`"},
		"f type udp local fe80::1":                   {"`local fe80::1` is link-local"},
		"f type udp allow-sources fd00::/8":          {"would refuse everybody", "IPv4"},
		"address 2:0:0:0:0:1 f type udp":             {"`address 02:00:00:00:00:01`", "no MAC address"},
		"x type vxlan l3":                            {"`id VNI`"},
		"x type vxlan id 1 l3 l3":                    {"`l3` is given twice"},
		"x type vxlan id 1 l3 group 239.1.1.1 dev a": {"`group` does not go with `l3`", "`weft route`"},
		"x type vxlan id 1 l3 proxy":                 {"`proxy` does not go with `l3`"},
		"x type vxlan id 1 l3 l2miss":                {"`l2miss` does not go with `l3`"},
		"x type vxlan id 1 l3 l3miss":                {"`l3miss` does not go with `l3`"},
		"x type vxlan id 1 l3 maxaddress 5":          {"`maxaddress` does not go with `l3`"},
		"x type vxlan id 1 l3 ageing 5":              {"`ageing` does not go with `l3`"},
		"f l3 type vxlan id 1":                       {"`l3` belongs behind `type vxlan`"},
		"f port 8285 type udp":                       {"`port` belongs behind `type vxlan` or `type udp`"},
	} {
		mustRefuse(t, line, want)
	}
	if _, err := readNewLink(strings.Fields("f type udp"), profileRFC7348); !isUsage(err) {
		t.Errorf("--profile rfc7348 of type udp: %v", err)
	}
}

func TestWordsOfRouteChanges(t *testing.T) {
	vni := uint32(7)
	for line, want := range map[string]dataplane.RouteChange{
		"10.1.2.0/24 via 192.0.2.2 dev f":      {Prefix: prefixes("10.1.2.0/24")[0], Via: ip("192.0.2.2")},
		"dev f via 192.0.2.2 to 10.1.2.3":      {Prefix: prefixes("10.1.2.3/32")[0], Via: ip("192.0.2.2")},
		"default via 192.0.2.2 dev f":          {Prefix: prefixes("0.0.0.0/0")[0], Via: ip("192.0.2.2")},
		"fd00:1::/64 via fd00::2 dev f port 9": {Prefix: prefixes("fd00:1::/64")[0], Via: ip("fd00::2"), Port: 9},
		"::/0 dev f lladdr 2:0:0:0:0:1 vni 7":  {Prefix: prefixes("::/0")[0], MAC: routetable.MAC{2, 5: 1}, VNI: &vni},
		"10.1.2.0/24 via 0.0.0.0 dev f":        {Prefix: prefixes("10.1.2.0/24")[0]},
	} {
		w, err := readRouteChange(dataplane.RouteReplace, strings.Fields(line))
		want.Op = dataplane.RouteReplace
		if err != nil || w.dev != "f" || !reflect.DeepEqual(w.change, want) {
			t.Errorf("%s: %+v, %v, want %+v", line, w, err, want)
		}
	}
}

func TestRefusalsOfRoutes(t *testing.T) {
	for line, want := range map[string]string{
		"route foo":                                     `unknown command "foo": allowed are add, del, get, replace, show`,
		"route add":                                     "no prefix given: `route add` needs a prefix",
		"route add 10.0.0.0/8":                          "no link given: `route add` needs `dev NAME`",
		"route add 10.0.0.1/8 dev a":                    "write `10.0.0.0/8`, or `10.0.0.1` for that one host",
		"route add 10.0.0.0/33 dev a":                   `"10.0.0.0/33" is neither a word of this command nor a prefix`,
		"route add ::ffff:10.0.0.0/104 dev a":           "neither a word of this command nor a prefix",
		"route add to x dev a":                          "`to x` is refused",
		"route add 10.0.0.0/8 to 10.0.0.0/8":            "exclude each other",
		"route add 10.0.0.0/8 via 239.1.1.1 dev a":      "`via 239.1.1.1` is refused",
		"route add 10.0.0.0/8 via host dev a":           "`via host` is refused",
		"route add 10.0.0.0/8 lladdr 1:0:0:0:0:0 dev a": "`lladdr 1:0:0:0:0:0` is refused",
		"route add 10.0.0.0/8 vni 16777216 dev a":       "`vni 16777216` is refused",
		"route add 10.0.0.0/8 port 65536 dev a":         "`port 65536` is refused",
		"route add 10.0.0.0/8 dev a metric 5":           "`metric` is of routes of the kernel: use `ip route`",
		"route add blackhole 10.0.0.0/8 dev a":          "`blackhole` is a kind of route that links do not have",
		"route add 10.0.0.0/8 dev a foo":                `unknown word "foo"`,
		"route get":                                     "no address given: `route get`",
		"route get 10.0.0.1":                            "no link given: `route get`",
		"route get 10.0.0.0/8 dev a":                    "nor an IPv4 or IPv6 address",
		"route get ::ffff:10.0.0.1 dev a":               "write `10.0.0.1`",
		"route get 10.0.0.1 from 10.0.0.2 dev a":        "`from` of `ip route get` is not served",
		"route show table 5":                            "`table` of `ip route show` is not served",
		"link set f type udp":                           "no word behind `type udp`",
		"link set f type udp local 192.0.2.1":           "`local` stays what `link add` made it",
		"link set f type foo":                           `unknown type "foo"`,
	} {
		status, stdout, stderr := weft(t, strings.Fields(line)...)
		if status != badUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q, %q, want %q", line, status, stdout, stderr, want)
		}
	}
}

func TestRouteLines(t *testing.T) {
	l := foundLink{info: dataplane.LinkInfo{LinkConfig: dataplane.LinkConfig{VNI: 5, Port: 4789}}, device: &netlink.LinkAttrs{Name: "x0"}}
	for _, c := range []struct {
		entry dataplane.RouteEntry
		text  string
		json  string
	}{
		{dataplane.RouteEntry{Prefix: prefixes("10.1.2.0/24")[0], Via: ip("192.0.2.2"), VNI: 5, Port: 4789}, "10.1.2.0/24 via 192.0.2.2 dev x0 \n",
			`{"dst":"10.1.2.0/24","gateway":"192.0.2.2","dev":"x0","flags":[]}`},
		{dataplane.RouteEntry{Prefix: prefixes("10.1.2.3/32")[0], Via: ip("192.0.2.2"), MAC: routetable.MAC{2}, VNI: 0, Port: 1}, "10.1.2.3 via 192.0.2.2 dev x0 lladdr 02:00:00:00:00:00 vni 0 port 1 \n",
			`{"dst":"10.1.2.3","gateway":"192.0.2.2","dev":"x0","lladdr":"02:00:00:00:00:00","vni":0,"port":1,"flags":[]}`},
		{dataplane.RouteEntry{Prefix: prefixes("0.0.0.0/0")[0], Via: ip("192.0.2.2"), VNI: 5, Port: 4789}, "default via 192.0.2.2 dev x0 \n",
			`{"dst":"default","gateway":"192.0.2.2","dev":"x0","flags":[]}`},
		{dataplane.RouteEntry{Prefix: prefixes("::/0")[0], Via: ip("fd00::2"), VNI: 5, Port: 4789}, "::/0 via fd00::2 dev x0 \n",
			`{"dst":"::/0","gateway":"fd00::2","dev":"x0","flags":[]}`},
	} {
		var text, asJSON strings.Builder
		for out, p := range map[*strings.Builder]*tablePrinter{&text: newTablePrinter(&text, false), &asJSON: newTablePrinter(&asJSON, true)} {
			line := l.routeLine(&c.entry)
			if err := p.print(&line); err != nil || p.close() != nil || out.Len() == 0 {
				t.Errorf("%v: %v", c.entry, err)
			}
		}
		if text.String() != c.text || asJSON.String() != "["+c.json+"]\n" {
			t.Errorf("%q, %s, want %q, %s", text.String(), asJSON.String(), c.text, c.json)
		}
	}
}

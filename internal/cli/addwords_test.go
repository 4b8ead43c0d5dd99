package cli

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/weftnet/weft/dataplane"
)

// link is the configuration of `vx0 type vxlan id 5 dstport 4789`, changed.
func link(change func(*dataplane.LinkConfig)) dataplane.LinkConfig {
	cfg := dataplane.LinkConfig{Name: "vx0", VNI: 5, Port: 4789}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

func prefixes(all ...string) (list []netip.Prefix) {
	for _, p := range all {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestWordsOfLinkAdd(t *testing.T) {
	type config = dataplane.LinkConfig
	base := "vx0 type vxlan id 5 dstport 4789 "
	for line, want := range map[string]config{
		base:                 link(nil),
		"name " + base:       link(nil),
		"dev " + base:        link(nil),
		"mtu 1400 " + base:   link(func(c *config) { c.MTU = 1400 }),
		"mtu 68 " + base:     link(func(c *config) { c.MTU = 68 }),
		"mtu 0xffff " + base: link(func(c *config) { c.MTU = 65535 }),
		"address 02:00:00:00:00:0a vx0 mtu 1300 type vxlan dstport 4789 id 5": link(func(c *config) { c.Address, c.MTU = "02:00:00:00:00:0a", 1300 }),
		"address 2:0:0:0:0:A " + base:                                         link(func(c *config) { c.Address = "02:00:00:00:00:0a" }),
		"name type type vxlan id 0 dstport 0":                                 {Name: "type", Port: 8472},

		"vx0 type vxlan vni 16777215 dstport 4789": link(func(c *config) { c.VNI = 1<<24 - 1 }),
		"vx0 type vxlan id 0x10 dstport 4789":      link(func(c *config) { c.VNI = 16 }),
		"vx0 type vxlan id 010 dstport 4789":       link(func(c *config) { c.VNI = 8 }),
		"vx0 type vxlan id 5":                      link(func(c *config) { c.Port = 8472 }),
		"vx0 type vxlan id 5 dstport 0":            link(func(c *config) { c.Port = 8472 }),
		"vx0 type vxlan id 5 dstport 65535":        link(func(c *config) { c.Port = 65535 }),

		base + "remote 192.0.2.2 local 192.0.2.1 dev eth0": link(func(c *config) { c.Remote, c.Local, c.Dev = ip("192.0.2.2"), ip("192.0.2.1"), "eth0" }),
		base + "remote 2001:db8::2 local 2001:db8::1":      link(func(c *config) { c.Remote, c.Local = ip("2001:db8::2"), ip("2001:db8::1") }),
		base + "remote 0.0.0.0 local 0.0.0.0":              link(nil),
		base + "remote :: local ::":                        link(nil),
		base + "remote fe80::2 local fe80::1 dev eth0":     link(func(c *config) { c.Remote, c.Local, c.Dev = ip("fe80::2"), ip("fe80::1"), "eth0" }),
		base + "local fe80::1 dev eth0":                    link(func(c *config) { c.Local, c.Dev = ip("fe80::1"), "eth0" }),
		base + "remote 169.254.0.1":                        link(func(c *config) { c.Remote = ip("169.254.0.1") }),

		base + "srcport 0 0":         link(nil),
		base + "srcport 5 5":         link(func(c *config) { c.SrcPortLow, c.SrcPortHigh = 5, 5 }),
		base + "srcport 49152 65535": link(func(c *config) { c.SrcPortLow, c.SrcPortHigh = 49152, 65535 }),
		base + "port 100 200":        link(func(c *config) { c.SrcPortLow, c.SrcPortHigh = 100, 200 }),

		base + "ttl auto":    link(nil),
		base + "ttl 0":       link(nil),
		base + "ttl 255":     link(func(c *config) { c.TTL = 255 }),
		base + "hoplimit 5":  link(func(c *config) { c.TTL = 5 }),
		base + "ttl inherit": link(func(c *config) { c.TTLCopy = true }),

		base + "tos 0":       link(nil),
		base + "tos 10":      link(func(c *config) { c.TOS = 0x10 }),
		base + "tos 0x11":    link(func(c *config) { c.TOS = 0x11 }),
		base + "dsfield fc":  link(func(c *config) { c.TOS = 0xfc }),
		base + "tos inherit": link(func(c *config) { c.TOSCopy = true }),
		base + "tos 1":       link(func(c *config) { c.TOSCopy = true }),

		base + "df unset":   link(func(c *config) { c.DF = dataplane.DFUnset }),
		base + "df set":     link(func(c *config) { c.DF = dataplane.DFSet }),
		base + "df inherit": link(func(c *config) { c.DF = dataplane.DFInherit }),

		base + "flowlabel 0":                          link(nil),
		base + "flowlabel 0xfffff remote 2001:db8::2": link(func(c *config) { c.FlowLabel, c.Remote = 0xfffff, ip("2001:db8::2") }),
		base + "label 16 local 2001:db8::2":           link(func(c *config) { c.FlowLabel, c.Local = 16, ip("2001:db8::2") }),

		base + "udpcsum noudp6zerocsumtx noudp6zerocsumrx": link(func(c *config) { c.Checksum.UDP = true }),
		base + "noudpcsum udp6zerocsumtx udp6zerocsumrx":   link(func(c *config) { c.Checksum = dataplane.Checksum{NoUDP: true, ZeroTx6: true, AcceptRx6: true} }),

		base + "group 239.1.1.1 dev eth0":              link(func(c *config) { c.Remote, c.Dev = ip("239.1.1.1"), "eth0" }),
		base + "dev eth0 group ff05::1":                link(func(c *config) { c.Remote, c.Dev = ip("ff05::1"), "eth0" }),
		base + "group ff02::1 local fe80::1 dev a":     link(func(c *config) { c.Remote, c.Local, c.Dev = ip("ff02::1"), ip("fe80::1"), "a" }),
		base + "group ff02::1 local 2001:db8::1 dev a": link(func(c *config) { c.Remote, c.Local, c.Dev = ip("ff02::1"), ip("2001:db8::1"), "a" }),

		base + "learning":                  link(nil),
		base + "nolearning":                link(func(c *config) { c.NoLearning = true }),
		base + "ageing 0":                  link(nil),
		base + "ageing none":               link(nil),
		base + "ageing 4294967295":         link(func(c *config) { c.Ageing = 1<<32 - 1 }),
		base + "maxaddress 0":              link(nil),
		base + "maxaddress unlimited":      link(nil),
		base + "maxaddress 10":             link(func(c *config) { c.MaxAddress = 10 }),
		base + "maxaddr 10":                link(func(c *config) { c.MaxAddress = 10 }),
		base + "proxy l2miss l3miss":       link(func(c *config) { c.Proxy, c.L2Miss, c.L3Miss = true, true, true }),
		base + "noproxy nol2miss nol3miss": link(nil),

		base + "allow-sources 192.0.2.0/24 198.51.100.7 df set": link(func(c *config) {
			c.AllowSources, c.DF = prefixes("192.0.2.0/24", "198.51.100.7/32"), dataplane.DFSet
		}),
		base + "allow-sources 0.0.0.0/0":                             link(func(c *config) { c.AllowSources = prefixes("0.0.0.0/0") }),
		base + "allow-sources 192.0.2.0/24 2001:db8::/32 remote ::1": link(func(c *config) { c.AllowSources, c.Remote = prefixes("192.0.2.0/24", "2001:db8::/32"), ip("::1") }),
		base + "profile kernel":                                      link(nil),

		base + "offload on":  link(nil),
		base + "offload off": link(func(c *config) { c.NoOffload = true }),
	} {
		t.Run(line, func(t *testing.T) {
			l, err := readNewLink(strings.Fields(line), "")
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(l.cfg, want) {
				t.Errorf("got  %+v\nwant %+v", l.cfg, want)
			}
		})
	}
}

// Each refusal must name the word, and what is allowed or what helps.
func TestRefusalsOfLinkAdd(t *testing.T) {
	base := "vx0 type vxlan id 5 dstport 4789 "
	for line, want := range map[string][]string{
		"":                    {"no name given", "1 to 15 bytes"},
		"type vxlan id 5":     {"no name given"},
		"vx0":                 {"no type given", "type vxlan id VNI"},
		"vx0 type":            {"`type`", "needs a value", "vxlan"},
		"vx0 type vxlan":      {"no VNI given", "0-16777215"},
		"vx0 type vxlam id 5": {`unknown type "vxlam"`, "did you mean `vxlan`"},
		"vx0 vx1 type vxlan":  {`unknown word "vx1"`, "address, dev, mtu, name, type"},
		"vx0 name vx1":        {"vx0", "name"},
		"vx0 mtuu 1400":       {`unknown word "mtuu"`, "did you mean `mtu`"},

		"abcdefghijklmnop type vxlan": {`"abcdefghijklmnop"`, "1 to 15 bytes"},
		"a/b type vxlan":              {`"a/b"`, "`/`"},
		"name a:b type vxlan":         {"a:b", "`:`"},
		"name a%d type vxlan":         {"a%d", "`%`"},
		".. type vxlan":               {`".."`},
		"name . type vxlan":           {"`name .`"},

		"vx0 mtu 67 type vxlan id 5":                    {"`mtu 67`", "68-65535"},
		"vx0 mtu 65536 type vxlan id 5":                 {"`mtu 65536`", "68-65535"},
		"vx0 mtu 1400 mtu 1400":                         {"`mtu` is given twice", "leave one out"},
		"vx0 address 01:00:00:00:00:01 type vxlan id 5": {"`address 01:00:00:00:00:01`", "unicast"},
		"vx0 address 00:00:00:00:00:00 type vxlan id 5": {"`address 00:00:00:00:00:00`", "not zero"},
		"vx0 address 02:00:00:00:00 type vxlan id 5":    {"02:00:00:00:00", "02:00:00:00:00:01"},
		"vx0 address 02:00:00:00:00:001":                {"refused"},
		"vx0 address g2:00:00:00:00:01":                 {"refused"},
		"vx0 txqueuelen 5 type vxlan id 5":              {"`txqueuelen`", "ip link set"},
		"vx0 up type vxlan id 5":                        {"`up`", "weft link set"},
		"vx0 id 5 type vxlan":                           {"`id` belongs behind `type vxlan`"},
		"link eth0 name vx0 type vxlan":                 {"`link`", "not served"},

		"vx0 type vxlan id 16777216": {"`id 16777216`", "0-16777215"},
		"vx0 type vxlan id -1":       {"`id -1`", "0-16777215"},
		"vx0 type vxlan id +1":       {"`id +1`"},
		"vx0 type vxlan id 1_0":      {"`id 1_0`"},
		"vx0 type vxlan id 0b1":      {"`id 0b1`"},
		"vx0 type vxlan id 08":       {"`id 08`"},
		"vx0 type vxlan id x":        {"`id x`", "0-16777215"},
		"vx0 type vxlan id":          {"`id` needs a value", "0-16777215"},
		"vx0 type vxlan id 5 vni 6":  {"`id` and `vni` exclude each other"},
		"vx0 type vxlan i 5":         {`unknown word "i"`, "id"},

		base + "remote":                                      {"`remote` needs a value"},
		base + "remote host.example":                         {"`remote host.example`", "IPv4 or IPv6 address"},
		base + "remote 192.0.2":                              {"`remote 192.0.2`"},
		base + "remote any":                                  {"`remote any`"},
		base + "remote 239.1.1.1":                            {"`remote 239.1.1.1`", "write `group 239.1.1.1 dev IF`"},
		base + "remote ff05::1":                              {"`remote ff05::1`", "`group`"},
		base + "remote ::ffff:192.0.2.1":                     {"write `192.0.2.1`"},
		base + "remote fe80::1%eth0":                         {"write `fe80::1` and `dev eth0`"},
		base + "local 239.1.1.1":                             {"`local 239.1.1.1`", "one host"},
		base + "remote 192.0.2.1 remote 192.0.2.1":           {"`remote` is given twice"},
		base + "remote 192.0.2.1 local 2001:db8::1":          {"`local 2001:db8::1`", "`remote 192.0.2.1`", "both IPv6"},
		base + "remote :: local 192.0.2.1":                   {"`local 192.0.2.1`", "both"},
		base + "remote fe80::1":                              {"`remote fe80::1` is link-local", "`local` and `dev`"},
		base + "remote fe80::1 local 2001:db8::1 dev a":      {"`remote fe80::1` is link-local"},
		base + "remote fe80::1 local fe80::2":                {"`dev IF`"},
		base + "remote 2001:db8::1 local fe80::2 dev a":      {"`local fe80::2` is link-local", "2001:db8::1 is not"},
		base + "dev a/b":                                     {"`dev a/b`"},
		base + "dstport 1":                                   {"`dstport` is given twice"},
		"vx0 type vxlan id 5 dstport 65536":                  {"`dstport 65536`", "0-65535"},
		"vx0 type vxlan id 5 dstport":                        {"`dstport` needs a value"},
		base + "srcport 9 8":                                 {"srcport: minimum 9 above maximum 8"},
		base + "port 9 8":                                    {"`port 9 8`"},
		base + "srcport 9":                                   {"`srcport` needs a value", "0-65535"},
		base + "srcport 9 65536":                             {"`srcport 65536`"},
		base + "srcport 1 2 port 3 4":                        {"`srcport` and `port` exclude each other"},
		base + "ttl 256":                                     {"`ttl 256`", "auto, inherit or 0-255"},
		base + "ttl":                                         {"`ttl` needs a value"},
		base + "ttl auto ttl 5":                              {"`ttl` is given twice"},
		base + "tos 100":                                     {"`tos 100`", "0-ff"},
		base + "tos 0xg":                                     {"`tos 0xg`"},
		base + "df maybe":                                    {"`df maybe`", "unset|set|inherit"},
		base + "flowlabel 0x100000 remote 2001:db8::1":       {"`flowlabel 0x100000`", "0-1048575"},
		base + "flowlabel 5 remote 192.0.2.1":                {"`flowlabel`", "IPv6", "leave it out"},
		base + "flowlabel 5":                                 {"`flowlabel`", "IPv6"},
		base + "udpcsum noudpcsum":                           {"`udpcsum` and `noudpcsum` exclude each other"},
		base + "group 239.1.1.1":                             {"`group 239.1.1.1` needs `dev IF`", "add it"},
		base + "group 192.0.2.1 dev a":                       {"`group 192.0.2.1`", "224.0.0.0/4 or ff00::/8", "write `remote 192.0.2.1`"},
		base + "group 0.0.0.0 dev a":                         {"`group 0.0.0.0`"},
		base + "group ff02::1%a dev a":                       {"write `ff02::1` and `dev a`"},
		base + "group ::ffff:239.1.1.1 dev a":                {"write `239.1.1.1`"},
		base + "group":                                       {"`group` needs a value"},
		base + "group 239.1.1.1 remote 192.0.2.1":            {"`group` and `remote` exclude each other"},
		base + "group 239.1.1.1 local 2001:db8::1 dev a":     {"`local 2001:db8::1`", "`group 239.1.1.1`"},
		base + "group ff05::1 local fe80::1 dev a":           {"`local fe80::1` is link-local", "`group`", "ff05::1 is not"},
		base + "learning nolearning":                         {"exclude each other"},
		base + "ageing -1":                                   {"`ageing -1`", "0-4294967295"},
		base + "ageing 4294967296":                           {"`ageing 4294967296`"},
		base + "maxaddress many":                             {"`maxaddress many`", "unlimited"},
		base + "proxy noproxy":                               {"exclude each other"},
		base + "allow-sources":                               {"`allow-sources` needs a value", "192.0.2.0/24"},
		base + "allow-sources foo":                           {"`allow-sources foo`", "192.0.2.0/24"},
		base + "allow-sources 192.0.2.1/24":                  {"`allow-sources 192.0.2.1/24`", "write `192.0.2.0/24`", "`192.0.2.1`"},
		base + "allow-sources 192.0.2.0/24 192.0.2.0/33":     {`unknown word "192.0.2.0/33"`},
		base + "allow-sources 192.0.2.0/24 allow-sources ::": {"given twice"},
		base + "allow-sources 2001:db8::/32":                 {"`allow-sources 2001:db8::/32`", "IPv4"},
		base + "profile rfc":                                 {"`profile rfc`", "kernel|rfc7348"},
		base + "offload maybe":                               {"`offload maybe`", "on|off"},
		base + "mtu 1400":                                    {"`mtu` belongs before `type`"},
		base + "bogus":                                       {`unknown word "bogus"`, "allowed are", "dstport", "udp6zerocsumrx"},
		base + "remot 192.0.2.1":                             {"did you mean `remote`"},
		base + "dst 192.0.2.1":                               {`unknown word "dst"`},
	} {
		t.Run(line, func(t *testing.T) { mustRefuse(t, line, want) })
	}
}

func mustRefuse(t *testing.T, line string, want []string) {
	t.Helper()
	l, err := readNewLink(strings.Fields(line), "")
	if _, ok := errors.AsType[*usageError](err); !ok {
		t.Fatalf("got %+v, %v, want bad usage", l, err)
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// Words of the kernel's device that weft lacks are refused by name, and not as
// if they were typing errors.
func TestKernelWordsThatAreNotServed(t *testing.T) {
	base := "vx0 type vxlan id 5 dstport 4789 "
	for _, w := range strings.Fields("queues") {
		mustRefuse(t, base+w, []string{"`" + w + "`", "not served yet"})
	}
	for _, w := range strings.Fields("external gpe gbp remcsumtx remcsumrx remcsum_nopartial rsc vnifilter localbypass mcroute reserved_bits") {
		mustRefuse(t, base+w, []string{"`" + w + "`", "not something that weft has"})
		mustRefuse(t, base+"no"+w, []string{"`no" + w + "`", "not something that weft has"})
	}
}

// A word cannot be both served and refused, or be an alias of nothing.
func TestTablesAgree(t *testing.T) {
	for _, g := range []grammar[newLink]{linkWords, vxlanWords, udpWords} {
		for w := range g.refused {
			if _, ok := g.find(w); ok {
				t.Errorf("%s is served and refused", w)
			}
		}
		for alias, w := range g.aliases {
			if _, ok := g.words[w]; !ok {
				t.Errorf("%s stands for %s, which is not served", alias, w)
			}
		}
	}
}

func TestWarningOfDefaultPort(t *testing.T) {
	for line, warned := range map[string]bool{
		"vx0 type vxlan id 5":              true,
		"vx0 type vxlan id 5 dstport 0":    false,
		"vx0 type vxlan id 5 dstport 8472": false,
	} {
		l, err := readNewLink(strings.Fields(line), "")
		if err != nil {
			t.Fatal(err)
		}
		got := l.warning()
		if (got != "") != warned {
			t.Errorf("%s: warning %q", line, got)
		}
		for _, part := range []string{"no destination port", "8472", "kernel's default", "non-standard", "dstport 4789", "dstport 0"} {
			if warned && !strings.Contains(got, part) {
				t.Errorf("%q does not say %q", got, part)
			}
		}
	}
}

// What a profile says holds unless another word says otherwise, wherever that
// word stands.
func TestProfiles(t *testing.T) {
	type config = dataplane.LinkConfig
	strict := func(change func(*config)) config {
		c := config{
			Name: "vx0", VNI: 5, Port: 4789, SrcPortLow: 49152, SrcPortHigh: 65535, DF: dataplane.DFSet,
			Checksum: dataplane.Checksum{NoUDP: true, ZeroTx6: true, AcceptRx6: true},
			Profile:  "rfc7348", IgnoreReserved: true, DropVLAN: true,
		}
		if change != nil {
			change(&c)
		}
		return c
	}
	for line, want := range map[string]config{
		"profile rfc7348":                   strict(nil),
		"profile rfc7348 dstport 8472":      strict(func(c *config) { c.Port = 8472 }),
		"dstport 0 profile rfc7348":         strict(func(c *config) { c.Port = 8472 }),
		"srcport 0 0 profile rfc7348":       strict(func(c *config) { c.SrcPortLow, c.SrcPortHigh = 0, 0 }),
		"profile rfc7348 udpcsum":           strict(func(c *config) { c.Checksum.NoUDP, c.Checksum.UDP = false, true }),
		"noudp6zerocsumtx profile rfc7348":  strict(func(c *config) { c.Checksum.ZeroTx6 = false }),
		"noudp6zerocsumrx profile rfc7348":  strict(func(c *config) { c.Checksum.AcceptRx6 = false }),
		"df inherit profile rfc7348 ttl 5":  strict(func(c *config) { c.DF, c.TTL = dataplane.DFInherit, 5 }),
		"profile kernel dstport 4789":       link(nil),
		"--profile rfc7348 profile rfc7348": strict(nil),
		"--profile rfc7348":                 strict(nil),
		"--profile kernel dstport 4789":     link(nil),
	} {
		l, err := readNewLink(profileLine(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if !reflect.DeepEqual(l.cfg, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", line, l.cfg, want)
		}
		if l.warning() != "" {
			t.Errorf("%s: warning %q", line, l.warning())
		}
	}
	for line, want := range map[string]string{
		"--profile kernel profile rfc7348": "exclude each other",
		"--profile strict":                 "`--profile strict` is refused: allowed is kernel|rfc7348",
	} {
		if _, err := readNewLink(profileLine(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// profileLine makes a line of `link add` from words behind `type vxlan id 5`,
// a flag before them.
func profileLine(line string) (words []string, profile string) {
	words = strings.Fields(line)
	if words[0] == "--profile" {
		profile, words = words[1], words[2:]
	}
	return append(strings.Fields("vx0 type vxlan id 5"), words...), profile
}

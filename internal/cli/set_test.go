package cli

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// The words of a change are told by the JSON in which it is asked for.
func TestWordsOfLinkSet(t *testing.T) {
	for line, want := range map[string]string{
		"remote 10.99.0.3":                `{"remote":"10.99.0.3"}`,
		"remote 0.0.0.0":                  `{"remote":""}`,
		"remote ::":                       `{"remote":""}`,
		"group 239.1.1.1 dev eth0":        `{"remote":"239.1.1.1","dev":"eth0"}`,
		"local 2001:db8::1":               `{"local":"2001:db8::1"}`,
		"local 0.0.0.0":                   `{"local":""}`,
		"ttl 5":                           `{"ttl":5}`,
		"ttl auto":                        `{"ttl":0}`,
		"tos 10":                          `{"tos":16,"tos_inherit":false}`,
		"tos inherit":                     `{"tos":0,"tos_inherit":true}`,
		"df set":                          `{"df":"set"}`,
		"flowlabel 0":                     `{"flow_label":0}`,
		"learning":                        `{"learning":true}`,
		"nolearning ageing 0":             `{"learning":false,"ageing":0}`,
		"allow-sources 10.0.0.0/8 ::/0":   `{"allow_sources":["10.0.0.0/8","::/0"]}`,
		"allow-sources none":              `{"allow_sources":[]}`,
		"allow-sources any":               `{"allow_sources":[]}`,
		"hoplimit 7 dsfield 0 label 0xff": `{"ttl":7,"tos":0,"tos_inherit":false,"flow_label":255}`,
	} {
		for _, line := range []string{"vx0 " + line, "vx0 type vxlan " + line, "dev vx0 " + line} {
			s, err := readLinkSet(strings.Fields(line))
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			got, err := json.Marshal(s.change)
			if err != nil || s.name != "vx0" || string(got) != want || !s.asksLink || len(s.fixed) != 0 {
				t.Errorf("%s: %s, %+v, %v", line, got, s, err)
			}
		}
	}
}

func TestDeviceWordsOfLinkSet(t *testing.T) {
	for line, want := range map[string]deviceChange{
		"vx0 up":                           {up: new(true)},
		"dev vx0 down":                     {up: new(false)},
		"vx0 mtu 1400 address 2:0:0:0:0:5": {mtu: 1400, address: "02:00:00:00:00:05"},
		"vx0 name vx9 master br0 up":       {name: "vx9", master: new("br0"), up: new(true)},
		"vx0 nomaster":                     {master: new("")},
		"vx0":                              {},
	} {
		s, err := readLinkSet(strings.Fields(line))
		if err != nil || s.name != "vx0" || s.asksLink || !reflect.DeepEqual(s.device, want) {
			t.Errorf("%s: %+v, %v", line, s, err)
		}
	}
}

// setOf runs one `link set lo` against a daemon whose link is lo, and returns
// what the daemon was asked to do.
func setOf(t *testing.T, line string) (asked []control.Request, status int, stderr string) {
	t.Helper()
	link := loopback(t)
	link.Info.Dev = ""
	standIn(t, func(x *control.Exchange) control.Response {
		if x.Op == control.OpList {
			return control.Done(link)
		}
		asked = append(asked, x.Request)
		return control.Done(link)
	})
	status, _, stderr = weft(t, strings.Fields("link set lo "+line)...)
	return asked, status, stderr
}

// The sentences are the kernel's (Linux 6.18), and so is what it lets pass.
func TestFixedWordsOfLinkSet(t *testing.T) {
	for line, sentence := range map[string]string{
		"id 6":             "Cannot change VNI.",
		"dstport 4790":     "Cannot change port.",
		"dstport 4789":     "Cannot change port.",
		"srcport 5 10":     "Cannot change port range.",
		"maxaddress 0":     "Cannot change limit.",
		"udpcsum":          "Cannot change UDP_CSUM flag.",
		"noudpcsum":        "Cannot change UDP_CSUM flag.",
		"udp6zerocsumtx":   "vxlan: cannot change UDP_ZERO_CSUM6_TX flag.",
		"noudp6zerocsumtx": "vxlan: cannot change UDP_ZERO_CSUM6_TX flag.",
		"udp6zerocsumrx":   "vxlan: cannot change UDP_ZERO_CSUM6_RX flag.",
		"proxy":            "vxlan: cannot change PROXY flag.",
		"noproxy":          "vxlan: cannot change PROXY flag.",
		"l2miss":           "vxlan: cannot change L2MISS flag.",
		"l3miss":           "vxlan: cannot change L3MISS flag.",
		"ttl inherit":      "vxlan: cannot change TTL_INHERIT flag.",
	} {
		asked, status, stderr := setOf(t, "type vxlan "+line)
		word, _, _ := strings.Cut(line, " ")
		if word == "ttl" {
			word = line
		}
		want := fmt.Sprintf("weft: %s `%s` of lo stays what it was made with: delete the link and add it again\n", sentence, word)
		if status != failed || stderr != want || len(asked) != 0 {
			t.Errorf("%s: status %d, %q, asked for %+v", line, status, stderr, asked)
		}
	}
	for _, line := range []string{"id 5", "vni 5 ttl 3", "srcport 0 0"} {
		if asked, status, stderr := setOf(t, line); status != done || stderr != "" || len(asked) != 1 {
			t.Errorf("%s: status %d, %q, asked for %+v", line, status, stderr, asked)
		}
	}
}

func TestLinkSetAsks(t *testing.T) {
	asked, status, stderr := setOf(t, "remote 10.99.0.3 nolearning")
	remote := ip("10.99.0.3")
	want := control.Request{Version: control.Version, Op: control.OpSet, Name: "lo", Set: &dataplane.LinkChange{Remote: &remote, Learning: new(false)}}
	if status != done || stderr != "" || len(asked) != 1 || !reflect.DeepEqual(asked[0], want) {
		t.Errorf("status %d, %q, asked for %+v", status, stderr, asked)
	}
	asked, status, stderr = setOf(t, "group 239.1.1.1")
	if status != failed || !strings.Contains(stderr, "`group 239.1.1.1` needs `dev IF`") || len(asked) != 0 {
		t.Errorf("group without dev: status %d, %q, asked for %+v", status, stderr, asked)
	}
	for line, want := range map[string]string{
		"link set nosuch up":              `no device "nosuch"`,
		"link set nosuch remote 10.0.0.1": `no link "nosuch"`,
	} {
		if status, _, stderr := weft(t, strings.Fields(line)...); status != failed || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q", line, status, stderr)
		}
	}
}

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/routetable"
)

func mac(s string) routetable.MAC {
	hw, ok := parseMAC(s)
	if !ok {
		panic(s)
	}
	return routetable.MAC(hw)
}

func TestWordsOfFDBChange(t *testing.T) {
	type change = dataplane.FDBChange
	vni := uint32(777)
	const base = "02:00:00:00:0c:01 dev vx0 dst 10.99.0.2"
	with := func(f func(*change)) change {
		c := change{Op: dataplane.FDBAdd, MAC: mac("02:00:00:00:0c:01"), Dst: ip("10.99.0.2")}
		f(&c)
		return c
	}
	same := with(func(*change) {})
	for line, want := range map[string]change{
		base:                                same,
		"dst 10.99.0.2 dev vx0 2:0:0:0:c:1": same,
		"dev vx0 to 02:00:00:00:0C:01 self dst 10.99.0.2": same,
		base + " port 0": same,
		base + " port 9999 vni 777 via rv0 router extern_learn": with(func(c *change) {
			c.Port, c.VNI, c.Via, c.Router, c.ExternLearn = 9999, &vni, "rv0", true, true
		}),
		"00:00:00:00:00:00 dev vx0 dst 10.99.0.2":   with(func(c *change) { c.MAC = mac("00:00:00:00:00:00") }),
		"01:00:5e:01:01:01 dev vx0 dst 239.1.1.1":   with(func(c *change) { c.MAC, c.Dst = mac("01:00:5e:01:01:01"), ip("239.1.1.1") }),
		"02:00:00:00:0c:01 dev vx0 dst 2001:db8::2": with(func(c *change) { c.Dst = ip("2001:db8::2") }),
		"02:00:00:00:0c:01 dev vx0 dst 0.0.0.0":     with(func(c *change) { c.Dst = ip("0.0.0.0") }),

		// What comes of several states was tried out with the kernel's device.
		base + " permanent":         with(func(c *change) { c.State = "permanent" }),
		base + " local":             with(func(c *change) { c.State = "permanent" }),
		base + " static":            with(func(c *change) { c.State = "static" }),
		base + " temp":              with(func(c *change) { c.State = "static" }),
		base + " dynamic":           with(func(c *change) { c.State = "dynamic" }),
		base + " static permanent":  with(func(c *change) { c.State = "permanent" }),
		base + " permanent dynamic": with(func(c *change) { c.State = "permanent" }),
		base + " dynamic static":    with(func(c *change) { c.State = "dynamic" }),
	} {
		w, err := readFDBChange(dataplane.FDBAdd, strings.Fields(line))
		if err != nil || w.dev != "vx0" || !reflect.DeepEqual(w.change, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", line, w, err, want)
		}
	}
	for line, want := range map[string]netip.Addr{"": {}, "dst 10.99.0.2": ip("10.99.0.2"), "dst 0.0.0.0": {}, "dst ::": {}} {
		w, err := readFDBChange(dataplane.FDBDelete, strings.Fields("02:00:00:00:0c:01 dev vx0 "+line))
		if err != nil || w.change.Dst != want {
			t.Errorf("del %s: %+v, %v", line, w, err)
		}
	}
}

func TestWordsOfFlush(t *testing.T) {
	vni, port := uint32(0), uint16(4789)
	for line, want := range map[string]dataplane.FDBFilter{
		"dev vx0":                               {},
		"self dev vx0":                          {},
		"dev vx0 vni 0 port 4789 dst 10.99.0.2": {VNI: &vni, Port: &port, Dst: ip("10.99.0.2")},
		"dev vx0 nopermanent dynamic norouter":  {Words: []string{"nopermanent", "dynamic", "norouter"}},
		"dev vx0 extern_learn nostatic":         {Words: []string{"extern_learn", "nostatic"}},
	} {
		w, err := readFlush(strings.Fields(line))
		if err != nil || w.dev != "vx0" || !reflect.DeepEqual(w.filter, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", line, w, err, want)
		}
	}
}

// fdbLines are lines of `bridge fdb show` and objects of `bridge -j`
// (iproute2 6.1) for entries of a kernel device with id 5 and dstport 4789:
// with its name given, and of all devices with -s.
var fdbLines = []struct {
	entry                        dataplane.FDBEntry
	text, textAll, json, jsonAll string
}{
	{
		dataplane.FDBEntry{MAC: mac("02:00:00:00:0c:12"), Dst: ip("10.99.0.9"), Port: 4789, VNI: 5, Used: 15},
		"02:00:00:00:0c:12 dst 10.99.0.9 self \n",
		"02:00:00:00:0c:12 dev vx0 dst 10.99.0.9 used 15/0 self \n",
		`{"mac":"02:00:00:00:0c:12","dst":"10.99.0.9","flags":["self"],"state":""}`,
		`{"mac":"02:00:00:00:0c:12","ifname":"vx0","dst":"10.99.0.9","used":15,"updated":0,"flags":["self"],"state":""}`,
	},
	{
		dataplane.FDBEntry{MAC: mac("02:00:00:00:0c:05"), Dst: ip("10.99.0.2"), Port: 4789, VNI: 5, State: "static"},
		"02:00:00:00:0c:05 dst 10.99.0.2 self static\n",
		"02:00:00:00:0c:05 dev vx0 dst 10.99.0.2 used 0/0 self static\n",
		`{"mac":"02:00:00:00:0c:05","dst":"10.99.0.2","flags":["self"],"state":"static"}`,
		`{"mac":"02:00:00:00:0c:05","ifname":"vx0","dst":"10.99.0.2","used":0,"updated":0,"flags":["self"],"state":"static"}`,
	},
	{
		dataplane.FDBEntry{MAC: mac("02:00:00:00:0c:04"), Dst: ip("10.99.0.2"), Port: 9999, VNI: 777, Via: "rv0", State: "permanent", Router: true, ExternLearn: true},
		"02:00:00:00:0c:04 dst 10.99.0.2 port 9999 vni 777 via rv0 self router extern_learn permanent\n",
		"02:00:00:00:0c:04 dev vx0 dst 10.99.0.2 port 9999 vni 777 via rv0 used 0/0 self router extern_learn permanent\n",
		`{"mac":"02:00:00:00:0c:04","dst":"10.99.0.2","port":9999,"vni":777,"viaIf":"rv0","flags":["self","router","extern_learn"],"state":"permanent"}`,
		`{"mac":"02:00:00:00:0c:04","ifname":"vx0","dst":"10.99.0.2","port":9999,"vni":777,"viaIf":"rv0","used":0,"updated":0,"flags":["self","router","extern_learn"],"state":"permanent"}`,
	},
	{
		dataplane.FDBEntry{MAC: mac("00:00:00:00:00:00"), Dst: ip("2001:db8::2"), Port: 4789, VNI: 0, State: "permanent"},
		"00:00:00:00:00:00 dst 2001:db8::2 vni 0 self permanent\n",
		"00:00:00:00:00:00 dev vx0 dst 2001:db8::2 vni 0 used 0/0 self permanent\n",
		`{"mac":"00:00:00:00:00:00","dst":"2001:db8::2","vni":0,"flags":["self"],"state":"permanent"}`,
		`{"mac":"00:00:00:00:00:00","ifname":"vx0","dst":"2001:db8::2","vni":0,"used":0,"updated":0,"flags":["self"],"state":"permanent"}`,
	},
}

// bridged is an entry of a bridge and its lines, as those above.
var bridged = netlink.Neigh{HardwareAddr: []byte{2, 0, 0, 0, 0x0d, 1}, State: netlink.NUD_NOARP, MasterIndex: 1}

const (
	bridgedText    = "02:00:00:00:0d:01 master br0 static\n"
	bridgedTextAll = "02:00:00:00:0d:01 dev vx0 used 0/0 master br0 static\n"
	bridgedJSON    = `{"mac":"02:00:00:00:0d:01","flags":[],"master":"br0","state":"static"}`
	bridgedJSONAll = `{"mac":"02:00:00:00:0d:01","ifname":"vx0","used":0,"updated":0,"flags":[],"master":"br0","state":"static"}`
)

// vx0 is a link in namespace 42 of the daemon that serves daemonsNS.
func vx0(daemonsNS uint64) foundLink {
	return foundLink{
		socket: fmt.Sprintf("/run/weft/%d.sock", daemonsNS),
		info:   dataplane.LinkInfo{LinkConfig: dataplane.LinkConfig{Name: "vx0", VNI: 5, Port: 4789}, NetNS: 42, Index: 7},
		device: &netlink.LinkAttrs{Name: "vx0", Index: 7},
	}
}

func printed(t *testing.T, asJSON, all bool, lines ...fdbLine) string {
	t.Helper()
	var out strings.Builder
	p := newFDBPrinter(&out, asJSON, all)
	for _, l := range lines {
		if err := p.print(l, all); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestFDBLines(t *testing.T) {
	l := vx0(42)
	lines := []fdbLine{bridgeLine(&bridged, "vx0", "br0")}
	text, textAll := bridgedText, bridgedTextAll
	objects, objectsAll := []string{bridgedJSON}, []string{bridgedJSONAll}
	for _, c := range fdbLines {
		lines = append(lines, l.fdbLine(&c.entry))
		text, textAll = text+c.text, textAll+c.textAll
		objects, objectsAll = append(objects, c.json), append(objectsAll, c.jsonAll)
	}
	for _, c := range []struct {
		asJSON, all bool
		want        string
	}{
		{false, false, text},
		{false, true, textAll},
		{true, false, "[" + strings.Join(objects, ",") + "]\n"},
		{true, true, "[" + strings.Join(objectsAll, ",") + "]\n"},
	} {
		if got := printed(t, c.asJSON, c.all, lines...); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
	if got := printed(t, true, false); got != "[]\n" {
		t.Errorf("no line prints %q", got)
	}
}

// A moved device's lines say so, as the kernel's do.
func TestFDBLinesOfAMovedLink(t *testing.T) {
	l := vx0(41)
	e := dataplane.FDBEntry{MAC: mac("02:00:00:00:0c:06"), Dst: ip("10.99.0.2"), Port: 4789, VNI: 5, State: "static"}
	e.Via, e.ViaIndex = "rv0", 3
	if got, want := printed(t, false, false, l.fdbLine(&e)), "02:00:00:00:0c:06 dst 10.99.0.2 via ifindex 3 link-netnsid 0 self static\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := printed(t, true, false, l.fdbLine(&e)), `[{"mac":"02:00:00:00:0c:06","dst":"10.99.0.2","viaIfIndex":3,"linkNetNsId":0,"flags":["self"],"state":"static"}]`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLineOfABridgeWithVLANs(t *testing.T) {
	n := bridged
	n.Vlan, n.State, n.Flags, n.Used, n.Updated = 7, netlink.NUD_PERMANENT, flagSticky, 250, 100
	if got, want := printed(t, false, true, bridgeLine(&n, "vx0", "br0")), "02:00:00:00:0d:01 dev vx0 vlan 7 used 2/1 sticky master br0 permanent\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// standIn answers for the daemon of this namespace.
func standIn(t *testing.T, handle func(*control.Exchange) control.Response) {
	t.Helper()
	t.Setenv(control.EnvRunDir, t.TempDir())
	dir, err := control.RunDirFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	netns, err := control.NetNS()
	if err != nil {
		t.Fatal(err)
	}
	serveAt(t, dir.Socket(netns), handle)
}

// serveAt answers on a socket until the test ends or the function that it
// returns is called.
func serveAt(t *testing.T, path string, handle func(*control.Exchange) control.Response) (end func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server := control.NewServer(handle)
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(l)
	}()
	end = func() {
		l.Close()
		<-served
		server.Close()
	}
	t.Cleanup(end)
	return end
}

// loopback is a device that every machine has, as if it were a link of weft.
func loopback(t *testing.T) control.Link {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	netns, err := control.NetNS()
	if err != nil {
		t.Fatal(err)
	}
	return control.Link{Info: dataplane.LinkInfo{
		LinkConfig: dataplane.LinkConfig{Name: "lo", VNI: 5, Port: 4789}, NetNS: netns, Index: lo.Attrs().Index,
	}}
}

func TestShowFDBPrintsWhatArrives(t *testing.T) {
	link := loopback(t)
	standIn(t, func(x *control.Exchange) control.Response {
		if x.Op == control.OpList {
			return control.Done(link)
		}
		for _, c := range fdbLines[1:] {
			x.Send(control.Response{Version: control.Version, FDB: []dataplane.FDBEntry{c.entry}})
		}
		resp := control.Done()
		resp.FDB = []dataplane.FDBEntry{fdbLines[0].entry}
		return resp
	})
	want := fdbLines[1].text + fdbLines[2].text + fdbLines[3].text + fdbLines[0].text
	for _, line := range []string{"fdb show dev lo", "fdb list lo", "fdb show brport lo"} {
		if status, stdout, stderr := weft(t, strings.Fields(line)...); status != done || stdout != want || stderr != "" {
			t.Errorf("%s: status %d, %q\n%s", line, status, stderr, stdout)
		}
	}
	for _, line := range []string{"fdb", "fdb show"} {
		status, stdout, _ := weft(t, strings.Fields(line)...)
		if status != done || strings.ReplaceAll(stdout, " dev lo ", " ") != want || strings.Count(stdout, " dev lo ") != 4 {
			t.Errorf("%s: status %d\n%s", line, status, stdout)
		}
	}
	var objects []fdbLine
	status, stdout, _ := weft(t, "-j", "-s", "fdb", "show", "dev", "lo")
	if err := json.Unmarshal([]byte(stdout), &objects); err != nil || status != done || len(objects) != 4 || objects[1].Via != "rv0" {
		t.Errorf("status %d, %v: %s", status, err, stdout)
	}
}

// What came before an error is shown, in JSON that can be read.
func TestShowFDBThatFails(t *testing.T) {
	link := loopback(t)
	standIn(t, func(x *control.Exchange) control.Response {
		if x.Op == control.OpList {
			return control.Done(link)
		}
		x.Send(control.Response{Version: control.Version, FDB: []dataplane.FDBEntry{fdbLines[0].entry}})
		return control.Response{Version: control.Version, Error: "the link is being removed"}
	})
	status, stdout, stderr := weft(t, "-j", "fdb", "show", "dev", "lo")
	if want := "[" + fdbLines[0].json + "]\n"; status != failed || stdout != want || stderr != "weft: table of lo: the link is being removed\n" {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
}

func TestFDBChangesAreAskedFor(t *testing.T) {
	link := loopback(t)
	link.Info.Name = "vx9" // as the daemon has it, before the device was renamed
	var asked []control.Request
	standIn(t, func(x *control.Exchange) control.Response {
		if x.Op == control.OpList {
			return control.Done(link)
		}
		asked = append(asked, x.Request)
		return control.Failed(errors.New("it is there"))
	})
	for line, want := range map[string]control.Request{
		"fdb add 02:00:00:00:0c:01 dev lo dst 10.99.0.2": {Op: control.OpChange, Changes: []dataplane.FDBChange{{Op: dataplane.FDBAdd, MAC: mac("02:00:00:00:0c:01"), Dst: ip("10.99.0.2")}}},
		"fdb delete 02:00:00:00:0c:01 dev lo":            {Op: control.OpChange, Changes: []dataplane.FDBChange{{Op: dataplane.FDBDelete, MAC: mac("02:00:00:00:0c:01")}}},
		"fdb flush dev lo dynamic":                       {Op: control.OpFlush, Flush: &dataplane.FDBFilter{Words: []string{"dynamic"}}},
	} {
		asked = nil
		status, stdout, stderr := weft(t, strings.Fields(line)...)
		if status != failed || stdout != "" || stderr != "weft: it is there\n" {
			t.Errorf("%s: status %d, %q, %q", line, status, stdout, stderr)
		}
		want.Version, want.Name = control.Version, "vx9"
		if len(asked) != 1 || !reflect.DeepEqual(asked[0], want) {
			t.Errorf("%s: asked for %+v", line, asked)
		}
	}
	status, _, stderr := weft(t, "fdb", "add", "02:00:00:00:0c:01", "dev", "lo")
	if status != failed || !strings.HasPrefix(stderr, "weft: Invalid argument: no `dst`") {
		t.Errorf("without dst: status %d, %q", status, stderr)
	}
	for _, line := range []string{"fdb show dev nosuch", "fdb flush dev nosuch", "fdb del 02:00:00:00:0c:01 dev nosuch"} {
		if status, _, stderr := weft(t, strings.Fields(line)...); status != failed || !strings.Contains(stderr, `no link "nosuch"`) {
			t.Errorf("%s: status %d, %q", line, status, stderr)
		}
	}
}

// A daemon that hears of a device's new name between two requests is asked
// again under that.
func TestLinkThatIsBeingRenamed(t *testing.T) {
	for _, line := range []string{"fdb del 02:00:00:00:0c:01 dev lo", "fdb flush dev lo", "fdb show dev lo", "link set lo ttl 5", "link del lo"} {
		link := loopback(t)
		link.Info.Name = "before"
		var names []string
		standIn(t, func(x *control.Exchange) control.Response {
			if x.Op == control.OpList {
				return control.Done(link)
			}
			link.Info.Name = "after"
			names = append(names, x.Name)
			if x.Name != link.Info.Name {
				return control.Failed(errors.New("there is no such link"))
			}
			return control.Done(link)
		})
		status, _, stderr := weft(t, strings.Fields(line)...)
		if status != done || stderr != "" || !slices.Equal(names, []string{"before", "after"}) {
			t.Errorf("%s: status %d, %q, asked for %v", line, status, stderr, names)
		}
	}
}

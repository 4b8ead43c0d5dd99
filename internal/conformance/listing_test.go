package conformance

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestListings lays the same network out once with weft and once with the
// kernel's device, lets the same things happen, and wants `weft fdb` to print
// what `bridge fdb` does: letter by letter where there is a bridge command, and
// what it would print otherwise. The MAC addresses are given, so not even they
// differ.
func TestListings(t *testing.T) {
	t.Parallel()
	for _, u := range lanUnderlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			weft, device := listed(t, user, u), listed(t, kernel, u)
			diff(t, "fdb show dev vxlan1", weft.plainLines(t), device.plainLines(t))
			if _, err := exec.LookPath("bridge"); err != nil {
				return
			}
			for _, words := range []string{
				"fdb show dev vxlan1", "-s fdb show dev vxlan1", "-j fdb show dev vxlan1", "-s -j fdb show dev vxlan1",
				"fdb", "-s fdb", "-j fdb",
			} {
				diff(t, words, weft.printed(t, words), device.printed(t, words))
			}
		})
	}
}

// listed is a host with a link in a bridge, among two others, with entries of
// every sort, learnt and told.
func listed(t *testing.T, k kind, u lanUnderlay) *link {
	t.Helper()
	l := newLAN(t, u, 3)
	near := l.addMember(t, 0, k, func(s *spec) { s.Addrs, s.Address = nil, mac("02:00:00:00:00:01") })
	check(t, near.AddBridge("br0"))
	check(t, near.SetMaster("br0", near.dev))
	check(t, near.AddAddr("br0", innerAddress(0)))
	for i, address := range []string{"02:00:00:00:00:02", "02:00:00:00:00:03"} {
		l.addMember(t, 1+i, kernel, func(s *spec) { s.Address = mac(address) })
		ping(t, near.Host, innerAddress(1+i).Addr())
	}
	one, other := u.address(1).Addr().String(), u.address(2).Addr().String()
	for _, line := range []string{
		"append " + zeroMAC + " dst " + other,
		"append " + zeroMAC + " dst " + u.group.Next().String() + " via eth0",
		"add 02:00:00:00:0c:01 dst " + one + " static",
		"add 02:00:00:00:0c:02 dst " + one + " permanent",
		"add 02:00:00:00:0c:03 dst " + other + " dynamic",
		"add 02:00:00:00:0c:04 dst " + other + " port 9999 vni 777 via eth0 static router extern_learn",
		"add 02:00:00:00:0c:05 dst " + one + " port 4789 vni 6",
		"add 01:00:5e:00:00:07 dst " + one,
		"append 01:00:5e:00:00:07 dst " + other,
		"replace 02:00:00:00:0c:01 dst " + other + " static",
		"del 02:00:00:00:0c:02",
	} {
		near.fdb(t, strings.Fields(line)...)
	}
	return near
}

// plainLines are those of `fdb show dev X`, of the link itself and of its
// bridge. Entries of a TAP's own, which are its filter of groups, are none.
func (l *link) plainLines(t *testing.T) []string {
	t.Helper()
	if l.kind == user {
		return printed(must(l.weft.Must("fdb", "show", "dev", l.dev))(t))
	}
	var lines []string
	for _, e := range must(l.FDB(l.dev))(t) {
		lines = append(lines, e.Line())
	}
	return lines
}

// printed is what a command of bridge prints of the link, each object of JSON
// a line, with the numbers of seconds left out.
func (l *link) printed(t *testing.T, words string) (lines []string) {
	t.Helper()
	var out string
	if l.kind == user {
		out = must(l.weft.Must(strings.Fields(words)...))(t)
	} else {
		out = must(l.Run(nil, "bridge", strings.Fields(words)...))(t).Stdout
	}
	out = strings.ReplaceAll(out, "},{", "},\n{")
	for _, line := range printed(out) {
		// Without dev there are those of all devices.
		if strings.HasSuffix(words, "vxlan1") || strings.Contains(line, "vxlan1") {
			lines = append(lines, strings.Trim(seconds.ReplaceAllString(line, "${1}N"), "[],"))
		}
	}
	if len(lines) < 10 {
		t.Errorf("%s prints %q", words, lines)
	}
	return lines
}

// seconds finds those of -s.
var seconds = regexp.MustCompile(`("used":|"updated":|used )[0-9]+(/[0-9]+)?`)

// diff wants two listings to be the same.
func diff(t *testing.T, what string, weft, device []string) {
	t.Helper()
	if slices.Equal(weft, device) {
		return
	}
	t.Errorf("%s differs:\nweft:\n%s\nkernel:\n%s", what, strings.Join(weft, "\n"), strings.Join(device, "\n"))
}

package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// awaitMembers waits until a host is in a multicast group on eth0, or out of
// it.
func awaitMembers(t *testing.T, h *lab.Host, group netip.Addr, want bool) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		if is := isMember(t, h, group); is != want {
			return fmt.Errorf("%s is a member of %v: %v, want %v", h.Name, group, is, want)
		}
		return nil
	}))
}

// isMember reads what `ip maddr show dev eth0` does.
func isMember(t *testing.T, h *lab.Host, group netip.Addr) (is bool) {
	t.Helper()
	check(t, h.Do(func() error {
		file, word := "/proc/thread-self/net/igmp", ""
		if raw := group.AsSlice(); group.Is4() {
			word = fmt.Sprintf("%08X", binary.NativeEndian.Uint32(raw))
		} else {
			file, word = "/proc/thread-self/net/igmp6", hex.EncodeToString(raw)
		}
		text, err := os.ReadFile(file)
		is = slices.Contains(groupsOn(string(text), "eth0"), word)
		return err
	}))
	return is
}

// groupsOn takes the groups of one device from either of the two files. That
// of IPv4 has a line for the device before those of its groups; that of IPv6
// begins each with the number and name of the device.
func groupsOn(text, dev string) (groups []string) {
	current := ""
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) < 3:
		case len(f[2]) == 32: // index, device, group
			if f[1] == dev {
				groups = append(groups, f[2])
			}
		case line[0] != '\t':
			current = strings.TrimSuffix(f[1], ":")
		case current == dev:
			groups = append(groups, f[0])
		}
	}
	return groups
}

// TestMembership sees a link join its group when it comes up, and leave it when
// it goes down and when it is deleted: on its host, and on the wire as IGMPv3
// or MLDv2 reports. A group that two links of a host have is left with the
// last.
func TestMembership(t *testing.T) {
	eachOnLAN(t, func(t *testing.T, k kind, u lanUnderlay) {
		l := newLAN(t, u, 2)
		h, wire := l.hosts[0], lab.TestCapture(t, l.hosts[1], "eth0")
		near := l.addMember(t, 0, k, nil)
		l.awaitReport(t, wire, 0, joins)
		check(t, h.SetDown(near.dev))
		l.awaitGone(t, h)
		l.awaitReport(t, wire, 0, leaves)

		seen := len(wire.Frames())
		check(t, h.SetUp(near.dev))
		awaitMembers(t, h, u.group, true)
		l.awaitReport(t, wire, seen, joins)
		other := near.sibling(t, spec{VXLAN: lab.VXLAN{Name: "vxlan2", ID: 7, Port: 4789, Remote: u.group, Dev: "eth0"}})
		seen = len(wire.Frames())
		near.delete(t)
		// Were the group left, that would be seen before this.
		far := other.sibling(t, spec{VXLAN: lab.VXLAN{Name: "vxlan3", ID: 8, Port: 4789, Remote: u.group.Next(), Dev: "eth0"}})
		awaitMembers(t, h, u.group.Next(), true)
		if !isMember(t, h, u.group) {
			t.Errorf("%v was left with the first of two links", u.group)
		}
		other.delete(t)
		far.delete(t)
		l.awaitGone(t, h)
		l.awaitReport(t, wire, seen, leaves)
	})
}

// awaitGone waits until a host is not in the group any more, as long as may
// take.
func (l *lan) awaitGone(t *testing.T, h *lab.Host) {
	t.Helper()
	check(t, lab.Eventually(2*time.Second, func() error {
		if isMember(t, h, l.underlay.group) {
			return fmt.Errorf("%s is still a member of %v", h.Name, l.underlay.group)
		}
		return nil
	}))
}

// change is what a report says of a group (RFC 3376 §4.2.12, RFC 3810 §5.2.12).
type change uint8

const (
	leaves change = 3 // CHANGE_TO_INCLUDE_MODE, with no sources
	joins  change = 4 // CHANGE_TO_EXCLUDE_MODE, with no sources
)

// awaitReport waits for host 0 to say so on the wire, in any frame but the
// first ones.
func (l *lan) awaitReport(t *testing.T, wire *lab.Capture, first int, want change) {
	t.Helper()
	n := 0
	_, err := wire.Wait(waitLimit, func(f lab.Frame) bool {
		n++
		return n > first && !f.Outgoing && slices.Contains(reports(f)[l.underlay.group], want)
	})
	if err != nil {
		t.Errorf("report %d of %v: %v", want, l.underlay.group, err)
	}
}

// reports reads the records of a membership report.
func reports(f lab.Frame) map[netip.Addr][]change {
	all := map[netip.Addr][]change{}
	p := dissect.Packet(f)
	if m, ok := p.Layer(layers.LayerTypeIGMP).(*layers.IGMP); ok {
		for _, r := range m.GroupRecords {
			group, _ := netip.AddrFromSlice(r.MulticastAddress.To4())
			all[group] = append(all[group], change(r.Type))
		}
	}
	if m, ok := p.Layer(layers.LayerTypeMLDv2MulticastListenerReport).(*layers.MLDv2MulticastListenerReportMessage); ok {
		for _, r := range m.MulticastAddressRecords {
			group, _ := netip.AddrFromSlice(r.MulticastAddress)
			all[group] = append(all[group], change(r.RecordType))
		}
	}
	return all
}

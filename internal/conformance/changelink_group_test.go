package conformance

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// memberships are the groups that reports on a wire (IGMPv3, RFC 3376; MLDv2,
// RFC 3810) have told of since it is watched: in which of them there is a
// member now, and in which not any more.
func memberships(frames []lab.Frame) (in map[netip.Addr]bool) {
	in = map[netip.Addr]bool{}
	const joined, left = 4, 3 // CHANGE_TO_EXCLUDE and _INCLUDE of no source
	note := func(kind uint8, group []byte) {
		if addr, _ := netip.AddrFromSlice(group); kind == joined || kind == left {
			in[addr.Unmap()] = kind == joined
		}
	}
	for _, f := range frames {
		p := dissect.Packet(f)
		if igmp, ok := p.Layer(layers.LayerTypeIGMP).(*layers.IGMP); ok {
			for _, r := range igmp.GroupRecords {
				note(uint8(r.Type), r.MulticastAddress.To4())
			}
		}
		if mld, ok := p.Layer(layers.LayerTypeMLDv2MulticastListenerReport).(*layers.MLDv2MulticastListenerReportMessage); ok {
			for _, r := range mld.MulticastAddressRecords {
				note(uint8(r.RecordType), r.MulticastAddress.To16())
			}
		}
	}
	return in
}

// wantMember waits until the wire has been told to which of some groups the
// host belongs: true for joined, false for left; a group that is not named must
// not have been told of.
func (a *alone) wantMember(t *testing.T, of map[string]bool, groups ...string) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		told := map[string]bool{}
		for addr, in := range memberships(a.wire.Frames()) {
			if slices.Contains(groups, addr.String()) {
				told[addr.String()] = in
			}
		}
		if !maps.Equal(told, of) {
			return fmt.Errorf("the wire was told of memberships %v, want %v", told, of)
		}
		return nil
	}))
}

// A link whose remote is changed from a host to a group joins that, on the
// wire, if it is up; it leaves it for another group, or for a host again.
func TestChangelinkGroup(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		if k == kernel {
			lab.NeedLinux(t, 6, 15, "joining the group that a vxlan device is changed to")
		}
		a := newAlone(t, k, v6, func(s *spec) { s.Dev = "eth0" })
		one, g1, g2 := a.other(t, 0), "239.1.1.1", "239.1.1.2"
		if v6 {
			g1, g2 = "ff05::101", "ff05::102"
		}
		a.set(t, "remote", one)
		a.wantMember(t, map[string]bool{}, g1, g2)
		a.set(t, "group", g1)
		a.wantMember(t, map[string]bool{g1: true}, g1, g2)
		a.wantDestination(t, g1)
		a.set(t, "group", g2)
		a.wantMember(t, map[string]bool{g1: false, g2: true}, g1, g2)
		a.wantDestination(t, g2)
		a.set(t, "remote", one)
		a.wantMember(t, map[string]bool{g1: false, g2: false}, g1, g2)
		a.wantDestination(t, one)

		check(t, a.SetDown(a.dev))
		a.set(t, "group", g1)
		check(t, a.SetUp(a.dev))
		a.wantMember(t, map[string]bool{g1: true, g2: false}, g1, g2)
		check(t, a.SetDown(a.dev))
		a.wantMember(t, map[string]bool{g1: false, g2: false}, g1, g2)
	})
}

// wantDestination wants a frame for nobody known to go there alone.
func (a *alone) wantDestination(t *testing.T, dst string) {
	t.Helper()
	if to := a.destinations(t, 1, unknownFrame(a.v6, 0)); !slices.Equal(to, []string{dst}) {
		t.Errorf("a frame went to %v, want %s", to, dst)
	}
}

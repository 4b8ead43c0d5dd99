package interop

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestOffloadSwitches switches off one offload after the other, and all of
// them: what is off carries nothing and says so, and the others are engaged. A
// flow becomes the kernel's only once the process has nothing of it left to
// carry, which may not come about within one transfer.
func TestOffloadSwitches(t *testing.T) {
	t.Parallel()
	all := []string{"dev_gso", "dev_uso", "udp_gso", "udp_gro", "tunnel_gso", "shortcut_tx", "shortcut_rx"}
	for _, off := range append([]string{"", strings.Join(all, ","), "shortcut_tx,shortcut_rx", "tunnel_gso,shortcut_tx,shortcut_rx"}, all...) {
		t.Run("off="+off, func(t *testing.T) {
			t.Parallel()
			without := func(s *spec) { s.Env = append(s.Env, "WEFT_OFFLOAD_OFF="+off) }
			a, b := connect(t, pairing{user, user}, underlay4, func(a, b *spec) { without(a); without(b) })
			var engaged map[string]uint64
			check(t, lab.Eventually(2*waitLimit, func() error {
				transfer(t, a, b, innerB[0], 8*mib)
				engaged = carriedByAll(a, b)
				return switched(off, engaged)
			}))
			show := a.weft.must("link", "show", "vxlan0")
			for _, name := range all {
				isOff := off != "" && strings.Contains(off, name)
				if isOff && engaged[name] > 0 {
					t.Errorf("%s is off and carried something: %v", name, engaged)
				}
				if says := strings.Contains(show, name+" off (switched off for this daemon)"); says != isOff {
					t.Errorf("link show says that %s is off: %v\n%s", name, says, show)
				}
			}
		})
	}
}

// carriedBy is what each offload has carried, by its name.
func carriedBy(v *vtep) map[string]uint64 {
	o := v.weft.stats(v.link).Offload
	return map[string]uint64{
		"dev_gso": o.DevGSO, "dev_uso": o.DevUSO, "udp_gso": o.UDPGSO, "udp_gro": o.UDPGRO,
		"tunnel_gso": o.TunnelGSO, "shortcut_tx": o.ShortcutTx, "shortcut_rx": o.ShortcutRx,
		"dev_ring": o.DevRing,
	}
}

// carriedByAll adds up what both ends have carried.
func carriedByAll(ends ...*vtep) map[string]uint64 {
	sum := map[string]uint64{}
	for _, v := range ends {
		for name, n := range carriedBy(v) {
			sum[name] += n
		}
	}
	return sum
}

// switched returns an error unless those are engaged that what is switched off
// leaves the work to. A TCP transfer has no UDP super-frames; runs of datagrams
// need both ends' help.
func switched(off string, engaged map[string]uint64) error {
	want := map[string][]string{
		"":                                   {"dev_gso", "shortcut_tx", "shortcut_rx"},
		"tunnel_gso":                         {"dev_gso", "shortcut_tx", "shortcut_rx"},
		"dev_uso":                            {"dev_gso", "shortcut_tx", "shortcut_rx"},
		"shortcut_tx":                        {"dev_gso", "tunnel_gso", "shortcut_rx"},
		"shortcut_rx":                        {"dev_gso", "shortcut_tx"},
		"shortcut_tx,shortcut_rx":            {"dev_gso", "tunnel_gso"},
		"tunnel_gso,shortcut_tx,shortcut_rx": {"dev_gso", "udp_gso", "udp_gro"},
	}
	for _, name := range want[off] {
		lacks := name == "tunnel_gso" && lab.LackOfTunnelGSO() != nil || strings.HasPrefix(name, "shortcut") && lab.LackOfShortcuts() != nil
		if engaged[name] == 0 && !lacks {
			return fmt.Errorf("%s was not engaged: %v", name, engaged)
		}
	}
	return nil
}

// A name that is no offload's is said to be none, and changes nothing.
func TestOffloadSwitchUnknown(t *testing.T) {
	t.Parallel()
	a, _ := connect(t, pairing{user, user}, underlay4, func(a, _ *spec) { a.Env = append(a.Env, "WEFT_OFFLOAD_OFF=tso") })
	if log := a.weft.log(); !strings.Contains(log, `tso\" is unknown`) {
		t.Errorf("the log says %s", log)
	}
	if show := a.weft.must("link", "show", "vxlan0"); strings.Contains(show, "off (switched") {
		t.Errorf("link show says %s", show)
	}
}

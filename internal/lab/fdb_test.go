//go:build linux

package lab_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// fdbLines are the entries of a device, as bridge prints them, those that have
// a flag.
func fdbLines(t *testing.T, h *lab.Host, dev string, flag uint8) (lines []string) {
	t.Helper()
	entries, err := h.FDB(dev)
	check(t, err)
	for _, e := range entries {
		if e.Flags&flag == flag {
			lines = append(lines, e.Line())
		}
	}
	slices.Sort(lines)
	return lines
}

// TestFDB changes the table of a vxlan device, and wants of the table and of
// the events the lines that bridge prints.
func TestFDB(t *testing.T) {
	lab.NeedKernelVXLAN(t)
	a, _ := lab.TestPair(t)
	check(t, a.AddKernelVXLAN(lab.VXLAN{Name: "vx0", ID: 5, Port: 4789, Remote: lab.PairB4.Addr(), Dev: "eth0"}))
	m, err := a.MonitorFDB()
	check(t, err)
	defer func() { check(t, m.Close()) }()
	mac := func(last byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, last} }
	there := netip.MustParseAddr("10.99.0.4")
	for _, e := range []lab.FDBEntry{
		{MAC: mac(1), Dst: there},
		{MAC: mac(2), Dst: there, State: lab.FDBStatic},
		{MAC: mac(3), Dst: there, State: lab.FDBDynamic},
		{MAC: mac(4), Dst: there, Port: 9999, VNI: 777, HasVNI: true, Via: "eth0", Flags: unix.NTF_SELF | unix.NTF_ROUTER | unix.NTF_EXT_LEARNED},
	} {
		e.Dev = "vx0"
		check(t, a.ChangeFDB(lab.FDBAdd, e))
	}
	if err := a.ChangeFDB(lab.FDBAdd, lab.FDBEntry{Dev: "vx0", MAC: mac(1), Dst: there}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("adding twice: %v, want EEXIST", err)
	}
	all := []string{
		"00:00:00:00:00:00 dst 10.211.55.12 via eth0 self permanent",
		"02:00:00:00:00:01 dst 10.99.0.4 self permanent",
		"02:00:00:00:00:02 dst 10.99.0.4 self static",
		"02:00:00:00:00:03 dst 10.99.0.4 self ",
		"02:00:00:00:00:04 dst 10.99.0.4 port 9999 vni 777 via eth0 self router extern_learn permanent",
	}
	if got := fdbLines(t, a, "vx0", unix.NTF_SELF); !slices.Equal(got, all) {
		t.Errorf("table %q, want %q", got, all)
	}
	check(t, a.ChangeFDB(lab.FDBDel, lab.FDBEntry{Dev: "vx0", MAC: mac(3)}))
	check(t, a.FlushFDB(lab.FDBEntry{Dev: "vx0", State: unix.NUD_NOARP}, unix.NUD_NOARP|unix.NUD_PERMANENT, 0))
	check(t, a.FlushFDB(lab.FDBEntry{Dev: "vx0", Port: 9999}, 0, 0))
	if got := fdbLines(t, a, "vx0", unix.NTF_SELF); !slices.Equal(got, all[:2]) {
		t.Errorf("table %q, want %q", got, all[:2])
	}
	events, err := m.Events()
	check(t, err)
	var lines []string
	for _, e := range events {
		lines = append(lines, e.MonitorLine())
	}
	want := []string{
		"02:00:00:00:00:01 dev vx0 dst 10.99.0.4 self permanent",
		"02:00:00:00:00:02 dev vx0 dst 10.99.0.4 self static",
		"02:00:00:00:00:03 dev vx0 dst 10.99.0.4 self ",
		"02:00:00:00:00:04 dev vx0 dst 10.99.0.4 port 9999 vni 777 via eth0 self router extern_learn permanent",
		"Deleted 02:00:00:00:00:03 dev vx0 dst 10.99.0.4 self ",
		"Deleted 02:00:00:00:00:02 dev vx0 dst 10.99.0.4 self static",
		"Deleted 02:00:00:00:00:04 dev vx0 dst 10.99.0.4 port 9999 vni 777 via eth0 self router extern_learn permanent",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("events %q, want %q", lines, want)
	}
}

// TestChangeKernelVXLAN changes what a device is made of while it is there.
func TestChangeKernelVXLAN(t *testing.T) {
	lab.NeedKernelVXLAN(t)
	a, _ := lab.TestPair(t)
	check(t, a.AddKernelVXLAN(lab.VXLAN{Name: "vx0", ID: 5, Port: 4789, Remote: lab.PairB4.Addr(), Dev: "eth0", NoLearning: true}))
	check(t, a.ChangeKernelVXLAN(lab.VXLAN{Name: "vx0", Learning: true, Ageing: 17, Remote: netip.MustParseAddr("10.211.55.99"), Dev: "eth0"}))
	link, err := a.Netlink().LinkByName("vx0")
	check(t, err)
	got, ok := link.(*netlink.Vxlan)
	if !ok || !got.Learning || got.Age != 17 || got.VxlanId != 5 || got.Port != 4789 {
		t.Errorf("%+v", got)
	}
	want := []string{"00:00:00:00:00:00 dst 10.211.55.99 via eth0 self permanent"}
	if got := fdbLines(t, a, "vx0", unix.NTF_SELF); !slices.Equal(got, want) {
		t.Errorf("table %q, want %q", got, want)
	}
	if err := a.ChangeKernelVXLAN(lab.VXLAN{Name: "vx0", Port: 4790}); err == nil {
		t.Error("the port was changed")
	}
}

// TestBridge sends through a bridge that learns, does not, and forgets.
func TestBridge(t *testing.T) {
	lab.NeedBridge(t)
	sw := lab.TestHost(t, "switch")
	check(t, sw.AddBridge("br7"))
	check(t, sw.SetBridgeAgeing("br7", time.Hour))
	h := lab.TestHost(t, "more")
	source := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	check(t, lab.Connect(lab.Port{Host: sw, Dev: "more"}, lab.Port{Host: h}))
	check(t, sw.SetMaster("br7", "more"))
	frame := append(append(append([]byte{}, 2, 0, 0, 0, 0, 8), source...), 0x88, 0xb5, 0)
	learnt := func(want bool) error {
		check(t, h.SendFrame("eth0", frame))
		lines := fdbLines(t, sw, "more", 0)
		if slices.Contains(lines, "02:00:00:00:00:09 master br7 ") != want {
			return errors.New("not as it should be")
		}
		return nil
	}
	check(t, sw.SetPortLearning("more", false))
	check(t, learnt(false))
	check(t, sw.SetPortLearning("more", true))
	check(t, lab.Eventually(waitLimit, func() error { return learnt(true) }))
	check(t, sw.ChangeFDB(lab.FDBDel, lab.FDBEntry{Dev: "more", MAC: source, Flags: unix.NTF_MASTER}))
	check(t, sw.SetNoMaster("more"))
	check(t, learnt(false))
}

//go:build !portable

package injector

import (
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// openIn opens an injector in a host, until the end of the test.
func openIn(t *testing.T, h *lab.Host) (d *Device) {
	t.Helper()
	if err := h.Do(func() (err error) { d, err = Open(); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// TestInterface: nothing but what is written to it moves through the private
// interface, each is another one, and it goes with its Device.
func TestInterface(t *testing.T) {
	lab.NeedTunnelGSO(t)
	h := lab.TestHost(t, "a")
	first, second := openIn(t, h), openIn(t, h)
	if first.Name() == second.Name() {
		t.Errorf("two interfaces of the name %s", first.Name())
	}
	link, err := h.Netlink().LinkByName(first.Name())
	if err != nil {
		t.Fatal(err)
	}
	if a := link.Attrs(); a.RawFlags&unix.IFF_UP == 0 || a.RawFlags&(unix.IFF_RUNNING|unix.IFF_LOWER_UP) != 0 || string(a.HardwareAddr) != string(first.MAC[:]) {
		t.Errorf("%s is %+v, want it up and without a carrier", first.Name(), a)
	}
	addrs, err := h.Netlink().AddrList(link, netlink.FAMILY_ALL)
	if err != nil || len(addrs) > 0 {
		t.Errorf("addresses %v, %v", addrs, err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := h.Device(first.Name()); err == nil {
		t.Errorf("%s is still there", first.Name())
	}
}

// TestProgram: what the interface receives and is too short for the program is
// dropped, and an underlay device that does not exist is no error of the
// writer's.
func TestProgram(t *testing.T) {
	lab.NeedTunnelGSO(t)
	d := openIn(t, lab.TestHost(t, "a"))
	frame := make([]byte, HeaderLen+60) // without anything to complete or to cut
	d.PutEther(frame[HeaderLen:], 1<<20, 0x0800)
	if errno := d.Write(frame[:HeaderLen], frame[HeaderLen:]); errno != 0 {
		t.Errorf("a write for a device that does not exist: %v", errno)
	}
}

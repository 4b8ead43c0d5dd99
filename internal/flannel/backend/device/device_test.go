package device

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Addresses of containers come and go while those of a device are read, which
// is no reason for a backend to fail.
func TestAddressesChange(t *testing.T) {
	h := lab.TestHost(t, "h")
	check(t, h.AddBridge("flannel.1"))
	network, own := netip.MustParsePrefix("172.16.0.0/12"), netip.MustParseAddr("172.16.0.0")
	for addr := range 400 {
		check(t, h.AddAddr("lo", netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, byte(1 + addr>>8), byte(addr)}), 32)))
	}
	rounds, changing := make(chan struct{}), make(chan error)
	go func() { changing <- change(h.Netlink(), rounds) }()
	check(t, h.Do(func() error {
		l, err := Find("flannel.1")
		read := []func() error{
			func() error { _, err := Holds(own); return err },
			func() error { _, err := SetAddress(l, own, network); return err },
			func() error { _, err := Addresses("flannel.1", netlink.FAMILY_V4); return err },
		}
		for i := 0; i < 600 && err == nil; i++ {
			rounds <- struct{}{}
			err = read[i%len(read)]()
		}
		return err
	}))
	close(rounds)
	check(t, <-changing)
}

// change adds an address and takes it away in each round, and no more: to read
// again helps against those who come to an end.
func change(h *netlink.Handle, rounds <-chan struct{}) error {
	lo, err := h.LinkByName("lo")
	a := &netlink.Addr{IPNet: IPNet(netip.MustParsePrefix("127.9.9.9/32"))}
	for range rounds {
		if err == nil {
			err = h.AddrAdd(lo, a)
		}
		if err == nil {
			err = h.AddrDel(lo, a)
		}
	}
	return err
}

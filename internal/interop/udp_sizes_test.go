package interop

import (
	"os"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// envUDPSizes names a variable which, set to "all", has the tests send UDP
// datagrams of all sizes there are. That takes minutes.
const envUDPSizes = "WEFT_UDP_SIZES"

// udpSizes are the payloads to be sent over a link of some MTU: all that fit a
// packet and more, and beyond that some of each length of the last fragment;
// the edges of fragments, of powers of two and of what there is; up to largest.
func udpSizes(mtu, ipHeader, largest int) []int {
	const dense, stride = 2000, 499
	if os.Getenv(envUDPSizes) == "all" {
		return upTo(largest, 1)
	}
	sizes := append(upTo(dense, 1), upTo(largest, stride)...)
	around := func(n int) {
		for _, size := range []int{n - 2, n - 1, n, n + 1, n + 2} {
			if size >= 0 && size <= largest {
				sizes = append(sizes, size)
			}
		}
	}
	fragment := (mtu - ipHeader) &^ 7
	for end := fragment - 8; end <= largest; end += fragment {
		around(end)
	}
	for power := 1; power < 1<<16; power *= 2 {
		around(power)
	}
	around(largest)
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

func upTo(largest, step int) (sizes []int) {
	for n := 0; n <= largest; n += step {
		sizes = append(sizes, n)
	}
	return sizes
}

// TestUDPSizes has datagrams answered by the same datagram.
func TestUDPSizes(t *testing.T) {
	t.Parallel()
	for _, p := range pairings[:2] {
		t.Run(p.String(), func(t *testing.T) { echoSizes(t, p) })
	}
}

func TestUserUserUDPSizes(t *testing.T) {
	t.Parallel()
	echoSizes(t, pairing{user, user})
}

func echoSizes(t *testing.T, p pairing) {
	for _, word := range []string{"on", "off"} {
		t.Run("offload-"+word, func(t *testing.T) {
			a, b := connect(t, p, underlay4, byProcess(withOffload(word)))
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			m := newMeter(t, a, b)
			for i, ipHeader := range []int{20, 48} { // IPv6 with a fragment header
				sizes := udpSizes(1450, ipHeader, lab.MaxDatagram)
				echoed, err := lab.Echo(a.Host, b.Host, anyPort(innerB[i]), sizes)
				if err != nil {
					t.Errorf("to %v: %v", innerB[i].Addr(), err)
				}
				t.Logf("to %v: %d of %d sizes, %d tries lost", innerB[i].Addr(), echoed.Datagrams, len(sizes), echoed.Lost)
			}
			m.checkDrops(t)
		})
	}
}

package interop

import (
	"fmt"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestShortcutFinished has flows too short to go past the sender's process, which
// puts in their checksums, but leaves the outer ones to the device. When the
// receiver's kernel has taken off the outer headers, it must not have the packet down
// as one whose checksum is still to be put in: who translates its addresses, as
// for a service, would spoil it.
func TestShortcutFinished(t *testing.T) {
	eachRouted(t, func(t *testing.T, a, b *vtep) {
		reach(t, a.Host, b.addr)
		inside := lab.TestCapture(t, b.Host, b.link)
		check(t, lab.Eventually(2*waitLimit, func() error { return shortFlows(t, a, b) }))
		for _, f := range inside.Stop() {
			if f.Outgoing {
				continue
			}
			if err := dissect.VerifyChecksums(dissect.Packet(f)); err != nil || f.ChecksumPartial {
				t.Fatalf("came out unfinished (%v), or wrong (%v): % x", f.ChecksumPartial, err, f.Data[:min(len(f.Data), 60)])
			}
		}
	})
}

// eachRouted tests two wefts of each kind that carries IP packets, by each underlay, on a
// wire with offloads.
func eachRouted(t *testing.T, test func(t *testing.T, a, b *vtep)) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		for _, of := range routedKinds {
			t.Run(of+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a, b := connectRouted(t, of, u, user)
				offloadsOn.apply(t, a, b)
				test(t, a, b)
			})
		}
	}
}

// shortFlows has one end send flows of some packets, and returns an error unless the
// other has received many past its process.
func shortFlows(t *testing.T, a, b *vtep) error {
	t.Helper()
	before := receivedShort(b.figures(t))
	for _, to := range nodesB {
		for range 20 {
			_, err := lab.Echo(a.Host, b.Host, anyPort(to), []int{0, 1, 600})
			check(t, err)
			_, err = lab.Transfer(a.Host, b.Host, anyPort(to), 1000)
			check(t, err)
		}
	}
	if n := receivedShort(b.figures(t)) - before; n < 100 {
		return fmt.Errorf("%d packets were received past the process", n)
	}
	return nil
}

// TestShortcutLarge has a wire carry packets that are larger than the kernel makes room
// in: of a station whose packets come past the process none of those is lost.
func TestShortcutLarge(t *testing.T) {
	eachRouted(t, func(t *testing.T, a, b *vtep) {
		for _, v := range []*vtep{a, b} {
			check(t, v.SetMTU("eth0", 60000))
			check(t, v.SetMTU(v.link, 50000))
		}
		reach(t, a.Host, b.addr)
		check(t, lab.Eventually(2*waitLimit, func() error { return shortFlows(t, a, b) }))
		sizes := append(make([]int, 40), 15000, 20000, 49000) // of one flow, which is busy by then
		for size := 15900; size < 16100; size += 7 {
			sizes = append(sizes, size)
		}
		for _, to := range nodesB {
			if e, err := lab.Echo(a.Host, b.Host, anyPort(to), sizes); err != nil || e.Lost > 0 {
				t.Errorf("%+v, %v", e, err)
			}
		}
		check(t, lab.Eventually(2*waitLimit, func() error { return shortFlows(t, a, b) })) // still
	})
}

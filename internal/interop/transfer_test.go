package interop

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

var underlays = []underlay{underlay4, underlay6}

// withOffload gives both ends of a link the same words.
func withOffload(word string) func(a, b *spec) {
	return func(a, b *spec) {
		a.Words = append(a.Words, "offload", word)
		b.Words = append(b.Words, "offload", word)
	}
}

// byProcess has weft carry all frames itself, at both ends, where that is what a
// test looks at: no flow is left to the kernel, however busy.
func byProcess(adjust func(a, b *spec)) func(a, b *spec) {
	return func(a, b *spec) {
		if adjust != nil {
			adjust(a, b)
		}
		for _, s := range []*spec{a, b} {
			s.Env = append(s.Env, "WEFT_OFFLOAD_OFF=shortcut_tx,shortcut_rx")
		}
	}
}

// anyPort of an address.
func anyPort(p netip.Prefix) netip.AddrPort { return netip.AddrPortFrom(p.Addr(), 0) }

// transfer sends n checked bytes by TCP to one of an end's addresses.
func transfer(t *testing.T, from, to *vtep, dst netip.Prefix, n int64) {
	t.Helper()
	done, err := lab.Transfer(from.Host, to.Host, anyPort(dst), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s to %s, %v: %.2f Gbit/s", from.Name, to.Name, dst.Addr(), done.BitsPerSecond()/1e9)
}

// tcpOffloads are those that TCP makes use of.
func tcpOffloads(p pairing, m wireMode, word string) engaged {
	if word == "off" {
		return engaged{}
	}
	return engaged{tunnelGSO: m.tunnels() && lab.LackOfTunnelGSO() == nil, devGSO: true, udpGSO: true, udpGRO: m.joins || m.runs && p.a == user && p.b == user}
}

// overrun lists what TCP may lose where it fills a window with single frames:
// a TAP device has room for 1000 of them, and holds nobody back.
func overrun(word string) []string {
	if word == "off" {
		return []string{"device_full"}
	}
	return nil
}

// TestTransfer carries enough each way to fill every window and buffer.
func TestTransfer(t *testing.T) {
	for _, p := range pairings[:2] {
		t.Run(p.String(), func(t *testing.T) { transferLarge(t, p) })
	}
}

func TestUserUserTransfer(t *testing.T) { transferLarge(t, pairing{user, user}) }

// transferLarge goes through both underlays and both kinds of packet inside,
// which are another one on the way back.
func transferLarge(t *testing.T, p pairing) {
	for i, c := range []struct {
		underlay
		offload string
		mode    wireMode
		size    int64
	}{
		{underlay4, "on", offloadsOn, largeTransfer(t)},
		{underlay4, "off", wireLike, largeTransfer(t)},
		{underlay6, "on", wireLike, largeTransfer(t)},
		{underlay6, "off", offloadsOn, largeTransfer(t) / 4}, // is slow, and was seen to last
	} {
		t.Run(c.name+"/offload-"+c.offload+"/"+c.mode.name, func(t *testing.T) {
			a, b := connect(t, p, c.underlay, byProcess(withOffload(c.offload)))
			c.mode.apply(t, a, b)
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			m := newMeter(t, a, b)
			transfer(t, a, b, innerB[i%2], c.size)
			transfer(t, b, a, innerA[1-i%2], c.size)
			m.checkDrops(t, overrun(c.offload)...)
			m.checkOffloads(t, tcpOffloads(p, c.mode, c.offload))
		})
	}
}

// TestTransferMatrix goes through every combination of ends, underlay, wire,
// offload, direction and kind of packet, and looks at the wire meanwhile.
func TestTransferMatrix(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		if p != (pairing{user, user}) {
			t.Run(p.String(), func(t *testing.T) { transferMatrix(t, p) })
		}
	}
}

func TestUserUserTransferMatrix(t *testing.T) {
	t.Parallel()
	transferMatrix(t, pairing{user, user})
}

func transferMatrix(t *testing.T, p pairing) {
	words := []string{"on", "off"}
	if p == (pairing{kernel, kernel}) {
		words = words[:1]
	}
	for _, u := range underlays {
		for _, word := range words {
			t.Run(u.name+"/offload-"+word, func(t *testing.T) {
				t.Parallel()
				a, b := connect(t, p, u, byProcess(withOffload(word)))
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
				for _, mode := range wireModes {
					t.Run(mode.name, func(t *testing.T) {
						mode.apply(t, a, b)
						m := newMeter(t, a, b)
						capture := lab.TestCapture(t, b.Host, "eth0")
						for i := range innerA {
							transfer(t, a, b, innerB[i], smallTransfer(t))
							transfer(t, b, a, innerA[i], smallTransfer(t))
						}
						checkTransferWire(t, capture, a, b, u, mode)
						m.checkDrops(t, overrun(word)...)
						m.checkOffloads(t, tcpOffloads(p, mode, word))
					})
				}
			})
		}
	}
}

// checkTransferWire looks at every datagram that b's wire saw. A super-frame
// that weft sent is a run of datagrams, of which the first is looked at.
func checkTransferWire(t *testing.T, c *lab.Capture, a, b *vtep, u underlay, mode wireMode) {
	t.Helper()
	seen := map[netip.Addr]int{}
	for _, f := range c.Stop() {
		e, ok := dissect.DecodeVXLAN(f, 4789)
		if !ok {
			continue
		}
		from := outerSource(e)
		seen[from]++
		if want := []byte{8, 0, 0, 0, 0, 0, 5, 0}; !bytes.Equal(e.Header, want) {
			t.Fatalf("VXLAN header % x, want % x", e.Header, want)
		}
		if mode.joined(f) {
			continue
		}
		if mode.finished() && f.Length > 1500+14 {
			t.Fatalf("a frame of %d bytes on a wire without offloads", f.Length)
		}
		if mode.tunnels() && f.Length > 1500+14 {
			continue // looked at by TestTunnelGSO
		}
		if sender := map[netip.Addr]*vtep{u.a: a, u.b: b}[from]; mode.finished() || sender.kind == user {
			checkSum(t, e, mode.finished())
		}
	}
	if n := c.Dropped(); n > 0 {
		t.Logf("the capture lost %d frames, which is not to be helped where its buffer may not be large", n)
	}
	if seen[u.a] == 0 || seen[u.b] == 0 || len(seen) != 2 {
		t.Errorf("datagrams by outer source: %v, want some of %v and %v", seen, u.a, u.b)
	}
}

// checkSum wants right checksums inside, and outside too where the wire has
// them finished.
func checkSum(t *testing.T, e *dissect.Encapsulated, outerToo bool) {
	t.Helper()
	if err := dissect.VerifyChecksums(e.Inner); err != nil {
		t.Fatalf("inner %v: %v", e.Inner, err)
	}
	if !outerToo {
		return
	}
	if err := dissect.VerifyChecksums(e.Outer); err != nil {
		t.Fatalf("outer %v: %v", e.Outer, err)
	}
	if e.UDP.Checksum == 0 {
		t.Fatalf("outer UDP checksum is 0 in %v", e.Outer)
	}
}

func outerSource(e *dissect.Encapsulated) netip.Addr {
	ip := e.Outer.NetworkLayer().NetworkFlow().Src().Raw()
	addr, _ := netip.AddrFromSlice(ip)
	return addr
}

// TestTransferBothWaysAtOnce has data meet data, not acknowledgements alone.
func TestTransferBothWaysAtOnce(t *testing.T) {
	for _, p := range pairings[:3] {
		for _, word := range []string{"on", "off"} {
			t.Run(p.String()+"/offload-"+word, func(t *testing.T) {
				a, b := connect(t, p, underlay4, byProcess(withOffload(word)))
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
				m := newMeter(t, a, b)
				size := largeTransfer(t) / 8
				failed := make(chan error, 2)
				send := func(from, to *vtep) {
					_, err := lab.Transfer(from.Host, to.Host, netip.AddrPortFrom(to.addr, 0), size)
					failed <- err
				}
				go send(a, b)
				go send(b, a)
				for range 2 {
					if err := <-failed; err != nil {
						t.Error(err)
					}
				}
				m.checkDrops(t, overrun(word)...)
				m.checkOffloads(t, tcpOffloads(p, offloadsOn, word))
			})
		}
	}
}

// TestTransferJumbo has an underlay of large frames: segments of 8950 bytes.
func TestTransferJumbo(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		for _, mode := range []wireMode{offloadsOn, wireLike} {
			t.Run(p.String()+"/"+mode.name, func(t *testing.T) {
				t.Parallel()
				ha, hb := lab.TestPair(t)
				check(t, ha.SetMTU("eth0", 9000))
				check(t, hb.SetMTU("eth0", 9000))
				a, b := connectHosts(t, ha, hb, p, underlay4, byProcess(nil))
				mode.apply(t, a, b)
				check(t, a.Ping(b.addr, lab.PingOptions{Size: 8950 - 28, DF: true}).Lost())
				m := newMeter(t, a, b)
				transfer(t, a, b, innerB[0], largeTransfer(t)/8)
				transfer(t, b, a, innerA[1], largeTransfer(t)/8)
				m.checkDrops(t)
				m.checkOffloads(t, tcpOffloads(p, mode, "on"))
			})
		}
	}
}

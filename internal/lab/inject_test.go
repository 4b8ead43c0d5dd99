//go:build linux

package lab_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestSendUDP forges datagrams from an address that nobody has, and looks at
// what arrives.
func TestSendUDP(t *testing.T) {
	for _, c := range []struct {
		name     string
		src, dst netip.Addr
	}{
		{"ipv4", netip.MustParseAddr("10.211.55.77"), lab.PairB4.Addr()},
		{"ipv6", netip.MustParseAddr("fd00:211:55::77"), lab.PairB6.Addr()},
	} {
		for _, o := range []lab.DatagramOptions{
			{TOS: 0xff, TTL: 3, DF: true}, {NoChecksum: true}, {BadChecksum: true},
		} {
			t.Run(fmt.Sprintf("%s %+v", c.name, o), func(t *testing.T) {
				a, b := lab.TestPair(t)
				pingOnce(t, a, c.dst, lab.PingOptions{}) // the neighbour must be known, not asked for as .77
				capture := lab.TestCapture(t, b, "eth0")
				payload := []byte("\x08\x00\x00\x00\x00\x00\x05\x00 a forged datagram")
				check(t, a.SendUDP(netip.AddrPortFrom(c.src, 40000), netip.AddrPortFrom(c.dst, 8472), payload, o))
				frame, err := capture.Wait(waitLimit, func(f lab.Frame) bool { _, ok := dissect.DecodeVXLAN(f, 8472); return ok })
				check(t, err)
				e, _ := dissect.DecodeVXLAN(frame, 8472)
				checkForged(t, e, o, payload)
				check(t, lab.Eventually(waitLimit, func() error {
					if n, err := b.BadChecksums(); err != nil || (n > 0) != (o.BadChecksum && c.dst.Is4()) {
						return fmt.Errorf("%d packets with a wrong checksum: %w", n, err)
					}
					return nil
				}))
			})
		}
	}
}

func checkForged(t *testing.T, e *dissect.Encapsulated, o lab.DatagramOptions, payload []byte) {
	t.Helper()
	if !bytes.Equal(e.UDP.Payload, payload) || e.UDP.SrcPort != 40000 {
		t.Errorf("arrived: %v", e.Outer)
	}
	if good := dissect.VerifyChecksums(e.Outer) == nil; good == o.BadChecksum || (e.UDP.Checksum == 0) != o.NoChecksum {
		t.Errorf("checksum %#x of %+v: %v", e.UDP.Checksum, o, dissect.VerifyChecksums(e.Outer))
	}
	if o.TTL != 0 && outerTTL(e) != uint8(o.TTL) {
		t.Errorf("TTL %d, want %d", outerTTL(e), o.TTL)
	}
	switch {
	case e.IPv6 != nil && e.IPv6.TrafficClass != o.TOS, e.IPv4 != nil && e.IPv4.TOS != o.TOS:
		t.Errorf("TOS is not %#x: %v", o.TOS, e.Outer)
	case e.IPv4 != nil && (e.IPv4.Flags&layers.IPv4DontFragment != 0) != o.DF:
		t.Errorf("DF is not %v: %v", o.DF, e.Outer)
	}
}

// TestSendUDPFragments sends what no packet holds.
func TestSendUDPFragments(t *testing.T) {
	a, b := lab.TestPair(t)
	pingOnce(t, a, lab.PairB4.Addr(), lab.PingOptions{})
	capture := lab.TestCapture(t, b, "eth0")
	src, dst := netip.AddrPortFrom(lab.PairA4.Addr(), 1), netip.AddrPortFrom(lab.PairB4.Addr(), 2)
	if err := a.SendUDP(src, dst, make([]byte, 3000), lab.DatagramOptions{DF: true}); err == nil {
		t.Error("3000 bytes went over a wire of 1500 under DF")
	}
	check(t, a.SendUDP(src, dst, make([]byte, 3000), lab.DatagramOptions{}))
	_, err := capture.Wait(waitLimit, func(f lab.Frame) bool {
		ip, ok := dissect.Packet(f).Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		return ok && ip.FragOffset > 0
	})
	check(t, err)
}

// TestSendFrameAndPcap sends tagged frames, whose tags the kernel takes out of
// the data, and reads them back from the capture and its file.
func TestSendFrameAndPcap(t *testing.T) {
	a, b := lab.TestPair(t)
	capture := lab.TestCapture(t, b, "eth0")
	frame := append([]byte{0x02, 0, 0, 0, 0, 9, 0x02, 0, 0, 0, 0, 8, 0x81, 0, 0, 42, 0x88, 0xb5}, make([]byte, 50)...)
	check(t, a.SendFrame("eth0", frame))
	got, err := capture.Wait(waitLimit, func(f lab.Frame) bool { return bytes.Equal(f.Data, frame) })
	check(t, err)
	if got.Outgoing || got.Length != len(frame) || got.Time.IsZero() {
		t.Errorf("frame %+v", got)
	}
	frames := capture.Stop()
	path := filepath.Join(t.TempDir(), "a.pcap")
	check(t, dissect.WritePcap(capture, path))
	if n := capture.Dropped(); n != 0 {
		t.Errorf("%d frames dropped", n)
	}
	file, err := os.Open(path)
	check(t, err)
	defer file.Close()
	r, err := pcapgo.NewReader(file)
	check(t, err)
	for _, f := range frames {
		data, info, err := r.ReadPacketData()
		if err != nil || !bytes.Equal(data, f.Data) || !info.Timestamp.Equal(f.Time) {
			t.Errorf("read back %d bytes of %v, %v; want %d of %v", len(data), info.Timestamp, err, len(f.Data), f.Time)
		}
	}
}

func TestCaptureWaitsInVain(t *testing.T) {
	h := lab.TestHost(t, "a")
	capture := lab.TestCapture(t, h, "lo")
	never := func(lab.Frame) bool { return false }
	if _, err := capture.Wait(1, never); err == nil {
		t.Error("nothing came, and Wait returned no error")
	}
	ended := make(chan error, 1)
	go func() { _, err := capture.Wait(waitLimit, never); ended <- err }()
	capture.Stop()
	if err := <-ended; err == nil {
		t.Error("the capture was stopped, and Wait returned no error")
	}
}

func TestCaptureSnapAndBothDirections(t *testing.T) {
	a, b := lab.TestPair(t)
	capture, err := a.CaptureSnap("eth0", 60)
	check(t, err)
	pingOnce(t, b, lab.PairA4.Addr(), lab.PingOptions{Size: 1000})
	seen := map[bool]int{} // echo request and reply, by direction
	for _, f := range capture.Stop() {
		if f.Length == 14+20+8+1000 && len(f.Data) == 60 {
			seen[f.Outgoing]++
		}
	}
	if seen[true] != 1 || seen[false] != 1 {
		t.Errorf("seen %v, want one frame each way", seen)
	}
}

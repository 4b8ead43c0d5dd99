//go:build linux

package lab

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var loopbackAny = netip.MustParseAddrPort("127.0.0.1:0")

// TestChangedByteIsFound sends what no path should ever make of a transfer.
func TestChangedByteIsFound(t *testing.T) {
	h := TestHost(t, "a")
	const at, n = 70001, 100000
	for _, c := range []struct {
		name  string
		bytes func(content []byte) []byte
		want  string
	}{
		{"changed", func(b []byte) []byte { b[at] ^= 1; return b }, "byte 70001 arrived changed"},
		{"cut short", func(b []byte) []byte { return b[:n-1] }, "after 99999 bytes"},
		{"too long", func(b []byte) []byte { return append(b, b[0]) }, "changed"},
		{"shifted", func(b []byte) []byte { return append(b[:at:at], b[at+1:]...) }, "byte 70001 arrived changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			streams, err := connect(h, h, loopbackAny, 1)
			if err != nil {
				t.Fatal(err)
			}
			s := streams[0]
			content := make([]byte, n)
			if _, err := newContent(1).Read(content); err != nil {
				t.Fatal(err)
			}
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = s.client.Write(c.bytes(content)) // fails if the receiver gives up first
				_ = s.client.CloseWrite()
			}()
			if err := compare(s.server, newContent(1), n); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			s.close()
			<-sent
		})
	}
}

// TestChangedDatagramIsFound sends datagrams that are not what their sizes say,
// each way.
func TestChangedDatagramIsFound(t *testing.T) {
	h := TestHost(t, "a")
	run, err := newEchoRun(h, h, loopbackAny)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = run.client.Close() }()
	defer func() { _ = run.server.Close() }()
	changed := append([]byte(nil), pattern(500)...)
	changed[499] ^= 0x80
	to := netip.MustParseAddrPort(run.client.LocalAddr().String())
	if _, err := run.server.WriteToUDPAddrPort(changed, netip.AddrPortFrom(loopbackAny.Addr(), to.Port())); err != nil {
		t.Fatal(err)
	}
	if err := run.await(500); err == nil || !strings.Contains(err.Error(), "on the way back, first at byte 499") {
		t.Errorf("client: %v", err)
	}
	if _, err := run.client.WriteToUDPAddrPort(pattern(500)[:300], run.to); err != nil {
		t.Fatal(err)
	}
	if err := run.serve(); err == nil || !strings.Contains(err.Error(), "300 bytes was changed on the way there") {
		t.Errorf("server: %v", err)
	}
}

// TestProbeOfWhatNoKernelHas goes the way that a missing vxlan goes.
func TestProbeOfWhatNoKernelHas(t *testing.T) {
	link := &netlink.GenericLink{LinkAttrs: attrs("probe0"), LinkType: "weftnosuch"}
	lack := probeDevice("such devices", link, "CONFIG_NOSUCH")
	if lack == nil || !errors.Is(lack, unix.EOPNOTSUPP) || !strings.Contains(lack.Error(), "modprobe nosuch") {
		t.Errorf("lack: %v", lack)
	}
}

//go:build !portable

package tap

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/gopacket"

	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// modes runs a test with the virtio-net header and without.
func modes(t *testing.T, test func(t *testing.T, portable bool)) {
	t.Run("header", func(t *testing.T) { test(t, false) })
	t.Run("portable", func(t *testing.T) { test(t, true) })
}

// silentHost is a host whose kernel sends nothing of its own accord.
func silentHost(t *testing.T, name string) *lab.Host {
	t.Helper()
	lab.NeedTUN(t)
	h := lab.TestHost(t, name)
	// Where there is no IPv6 it is silent.
	_ = h.Sysctl("net.ipv6.conf.default.disable_ipv6", "1")
	return h
}

// openIn opens a device in a host, until the end of the test.
func openIn(t *testing.T, h *lab.Host, name string, portable bool) *Device {
	t.Helper()
	var d *Device
	err := h.Do(func() (err error) {
		d, err = Open(name, portable)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// upIn opens the device tap0 and brings it up.
func upIn(t *testing.T, h *lab.Host, portable bool) *Device {
	t.Helper()
	d := openIn(t, h, "tap0", portable)
	check(t, h.SetUp("tap0"))
	return d
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readSome reads until there is something.
func readSome(t *testing.T, d *Device, b *Batch) {
	t.Helper()
	check(t, lab.Eventually(5*time.Second, func() error {
		if err := d.Read(b); err != nil {
			return err
		}
		if len(b.Packets) == 0 {
			return errors.New("nothing to read")
		}
		return nil
	}))
}

// wantWritten waits for frames that the device's kernel took from it.
func wantWritten(t *testing.T, c *lab.Capture, want ...[]byte) {
	t.Helper()
	var got [][]byte
	_ = lab.Eventually(5*time.Second, func() error {
		got = nil
		for _, f := range c.Frames() {
			if !f.Outgoing {
				got = append(got, f.Data)
			}
		}
		if len(got) < len(want) {
			return fmt.Errorf("%d frames", len(got))
		}
		return nil
	})
	if len(got) != len(want) {
		t.Fatalf("the kernel got %d frames, want %d", len(got), len(want))
	}
	for i := range want {
		if string(got[i]) != string(want[i]) {
			t.Fatalf("frame %d of %d differs:\ngot  %x\nwant %x", i, len(want), got[i], want[i])
		}
	}
}

func serialize(all ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	o := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, o, all...); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

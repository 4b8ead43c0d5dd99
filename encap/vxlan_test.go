package encap_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

func TestHeaderGolden(t *testing.T) {
	for vni, want := range map[uint32][]byte{
		5:         {8, 0, 0, 0, 0, 0, 5, 0},
		0:         {8, 0, 0, 0, 0, 0, 0, 0},
		0x123456:  {8, 0, 0, 0, 0x12, 0x34, 0x56, 0},
		1<<24 - 1: {8, 0, 0, 0, 0xff, 0xff, 0xff, 0},
	} {
		got := bytes.Repeat([]byte{0xee}, 9) // what was there before must not show through
		encap.PutHeader(got, vni)
		if !bytes.Equal(got, append(want, 0xee)) {
			t.Errorf("header of VNI %d is % x, want % x and nothing behind it", vni, got, want)
		}
	}
}

// TestHeaderAgainstGopacket writes and reads every VNI that has one bit set.
func TestHeaderAgainstGopacket(t *testing.T) {
	for bit := range 24 {
		vni := uint32(1) << bit
		want := serialize(gopacket.SerializeOptions{}, &layers.VXLAN{ValidIDFlag: true, VNI: vni})
		got := make([]byte, encap.HeaderLen)
		encap.PutHeader(got, vni)
		if !bytes.Equal(got, want) {
			t.Errorf("VNI %d: wrote % x, gopacket % x", vni, got, want)
		}
		h, err := encap.ParseHeader(want)
		if err != nil || h != (encap.Header{VNI: vni}) {
			t.Errorf("VNI %d: read %+v, %v", vni, h, err)
		}
	}
}

// reservedBits are the bits of a header other than I and those of the VNI.
func reservedBits() (bits []int) {
	for bit := range 64 {
		if bit != 4 && (bit < 32 || bit > 55) {
			bits = append(bits, bit)
		}
	}
	return bits
}

func TestHeaderReservedBits(t *testing.T) {
	if n := len(reservedBits()); n != 39 {
		t.Fatalf("%d reserved bits, want 39", n)
	}
	for _, bit := range reservedBits() {
		header := []byte{8, 0, 0, 0, 0xab, 0xcd, 0xef, 0}
		header[bit/8] |= 0x80 >> (bit % 8)
		h, err := encap.ParseHeader(header)
		if err != nil || h != (encap.Header{VNI: 0xabcdef, Reserved: true}) {
			t.Errorf("bit %d set (% x): %+v, %v; want VNI abcdef and Reserved", bit, header, h, err)
		}
	}
}

func TestHeaderRefused(t *testing.T) {
	header := []byte{8, 0, 0, 0, 0, 0, 5, 0}
	for n := range header {
		if _, err := encap.ParseHeader(header[:n]); !errors.Is(err, encap.ErrShortHeader) {
			t.Errorf("%d bytes: %v, want ErrShortHeader", n, err)
		}
	}
	// Whatever else is set, without I there is no VNI.
	for _, header := range [][]byte{make([]byte, 8), {0xf7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		if _, err := encap.ParseHeader(header); !errors.Is(err, encap.ErrNoVNIFlag) {
			t.Errorf("% x: %v, want ErrNoVNIFlag", header, err)
		}
	}
	if h, err := encap.ParseHeader(append(header, 0xff)); err != nil || h.VNI != 5 || h.Reserved {
		t.Errorf("a longer datagram: %+v, %v", h, err)
	}
}

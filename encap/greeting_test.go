package encap_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/weftnet/weft/encap"
)

func TestGreeting(t *testing.T) {
	g := encap.AppendGreeting([]byte("packet"))
	if want := "packet\x00weft\x00\x00\x01"; string(g) != want {
		t.Fatalf("%q, want %q", g, want)
	}
	g = g[6:]
	if !encap.IsGreeting(g) {
		t.Error("it is none")
	}
	if _, err := encap.TrimPacket(g); !errors.Is(err, encap.ErrNotIP) {
		t.Errorf("alone it may be taken for a packet: %v", err)
	}
	more := bytes.Clone(g)
	if more[7] |= 0x82; !encap.IsGreeting(more) {
		t.Error("with more said it is none")
	}
	for i := range 8 * len(g) {
		other := bytes.Clone(g)
		if other[i/8] ^= 1 << (i % 8); i/8 < 7 || i%8 == 0 {
			if encap.IsGreeting(other) {
				t.Errorf("it is one with bit %d changed", i)
			}
		}
	}
	for _, other := range [][]byte{nil, g[:7], append(bytes.Clone(g), 0), make([]byte, 8)} {
		if encap.IsGreeting(other) {
			t.Errorf("%x is one", other)
		}
	}
}

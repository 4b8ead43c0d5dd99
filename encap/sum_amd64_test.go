package encap_test

import (
	"testing"

	"golang.org/x/sys/cpu"

	"github.com/weftnet/weft/encap"
)

// TestHasVectors asks somebody else.
func TestHasVectors(t *testing.T) {
	if got, want := encap.HasVectors(), cpu.X86.HasAVX2; got != want {
		t.Errorf("AVX2 is there: %v, want %v", got, want)
	}
}

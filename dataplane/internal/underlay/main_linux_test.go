//go:build !portable

package underlay

import (
	"fmt"
	"os"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestMain runs the tests in a network of their own, where all ports are free.
// Nothing else here needs one, so without it they run where they are.
func TestMain(m *testing.M) {
	if err := lab.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, "underlay: not in a network of its own:", err)
	}
	os.Exit(m.Run())
}

// families runs a test over IPv4 and IPv6.
func families(t *testing.T, test func(t *testing.T, ipv6 bool)) {
	t.Run("IPv4", func(t *testing.T) { test(t, false) })
	t.Run("IPv6", func(t *testing.T) { test(t, true) })
}

//go:build !portable

package dataplane

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
		fmt.Fprintln(os.Stderr, "dataplane: not in a network of its own:", err)
	}
	os.Exit(m.Run())
}

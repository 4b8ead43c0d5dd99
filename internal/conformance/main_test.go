package conformance

import (
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

func TestMain(m *testing.M) {
	vtep.ActAsWeft()
	lab.Main(m)
}

// waitLimit is how long something may take that comes at once, on a machine
// that runs everything else at the same time.
const waitLimit = 10 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must unpacks what a call returned that has to succeed: must(call())(t).
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

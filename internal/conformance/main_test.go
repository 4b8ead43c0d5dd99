package conformance

import (
	"flag"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/cli"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

func TestMain(m *testing.M) {
	vtep.ActAsWeft(cli.Main)
	runManyAtOnce()
	lab.Main(m)
}

// atOnce is how many tests may run in parallel. Most wait most of the time,
// for ageing above all, so that the number of cores is no measure.
const atOnce = "12"

// runManyAtOnce sets the default of -parallel, which a flag overrides.
func runManyAtOnce() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", atOnce)
	}
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

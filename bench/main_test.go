package bench

import (
	"flag"
	"fmt"
	"testing"

	"github.com/weftnet/weft/internal/benchmark"
	"github.com/weftnet/weft/internal/cli"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

func TestMain(m *testing.M) {
	vtep.ActAsWeft(cli.Main)
	lab.Main(described{m})
}

// described are tests before whose benchmarks the machine is described.
type described struct{ tests interface{ Run() int } }

func (d described) Run() int {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" {
		for _, s := range benchmark.Machine() {
			if s.Key == "cpu" {
				continue // the testing package prints it
			}
			fmt.Printf("%s: %s\n", s.Key, s.Value)
		}
	}
	return d.tests.Run()
}

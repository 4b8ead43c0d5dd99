package lantest

import (
	"testing"

	"github.com/weftnet/weft/internal/cli"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

func TestMain(m *testing.M) {
	vtep.ActAsWeft(cli.Main)
	lab.Main(m)
}

package bench

import (
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

func TestMain(m *testing.M) {
	vtep.ActAsWeft()
	lab.Main(m)
}

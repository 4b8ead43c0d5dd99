//go:build linux

package netfilter_test

import (
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

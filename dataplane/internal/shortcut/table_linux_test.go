//go:build !portable

package shortcut

import (
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

func TestOpen(t *testing.T) {
	h := lab.TestHost(t, "a")
	if err := h.Do(func() error {
		tab, err := Open()
		if err != nil {
			return err
		}
		tab.Close()
		return nil
	}); err != nil {
		t.Fatalf("%+v", err)
	}
}

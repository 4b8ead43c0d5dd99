package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/netfilter"
)

// The agents of two networks of one host know each other's rules, while a file
// is half written too, and until it is removed.
func TestBeside(t *testing.T) {
	dir := control.RunDir(t.TempDir())
	var memories []*memory
	var want []netfilter.Rules
	for i, file := range []string{"a.env", "b.env"} {
		m, err := openMemory(dir, filepath.Join(string(dir), file))
		check(t, err)
		t.Cleanup(func() { m.file.Close() })
		m.Rules = netfilter.Rules{
			Network: netip.MustParsePrefix("10.0.0.0/16"), Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24),
			Masquerade: i == 1, NFT: i == 0,
		}
		check(t, m.save())
		memories, want = append(memories, m), append(want, m.Rules)
	}
	check(t, os.WriteFile(filepath.Join(string(dir), "1-agent-00000000.json"), []byte("{}"), 0o600)) // of another namespace
	first := beside{memories[0], map[string]netfilter.Rules{}}
	knows := func(when string, b beside, want ...netfilter.Rules) {
		t.Helper()
		if got, err := b.rules(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v and %v, not %v", when, got, err, want)
		}
	}
	knows("first", first, want[1])
	knows("second", beside{memories[1], map[string]netfilter.Rules{}}, want[0])
	text, err := os.ReadFile(memories[1].file.Name())
	check(t, err)
	check(t, os.WriteFile(memories[1].file.Name(), text[:len(text)/2], 0o600))
	knows("half written", first, want[1])
	memories[1].Cookie++
	check(t, memories[1].save())
	knows("of a namespace that is gone", first, netfilter.Rules{})
	memories[1].Cookie--
	check(t, memories[1].save())
	knows("of this one", first, want[1])
	check(t, memories[1].forget())
	knows("removed", first)
}

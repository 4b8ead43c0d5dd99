package conformance

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// set changes the link as `ip link set dev X type vxlan …` does.
func (l *link) set(t *testing.T, words ...string) {
	t.Helper()
	if err := l.trySet(t, words...); err != nil {
		t.Fatalf("link set %s %s: %v", l.dev, strings.Join(words, " "), err)
	}
}

// trySet does so and returns what became of it.
func (l *link) trySet(t *testing.T, words ...string) error {
	t.Helper()
	if l.kind == user {
		_, err := l.weft.Must(append([]string{"link", "set", l.dev}, words...)...)
		return err
	}
	v := lab.VXLAN{Name: l.dev}
	for len(words) > 0 {
		n := readSetWord(&v, words)
		if n == 0 {
			t.Fatalf("no word of ip link set type vxlan: %q", words)
		}
		words = words[n:]
	}
	return l.ChangeKernelVXLAN(v)
}

// readSetWord reads the first of some words, with its value, and says how many
// that were.
func readSetWord(v *lab.VXLAN, words []string) int {
	switch words[0] {
	case "learning":
		v.Learning = true
		return 1
	case "nolearning":
		v.NoLearning = true
		return 1
	}
	if len(words) < 2 {
		return 0
	}
	number, _ := strconv.ParseUint(words[1], 10, 32)
	tos, _ := strconv.ParseUint(words[1], 16, 8) // hexadecimal, as ip takes it
	switch words[0] {
	case "remote", "group":
		v.Remote, _ = netip.ParseAddr(words[1])
	case "local":
		v.Local, _ = netip.ParseAddr(words[1])
	case "dev":
		v.Dev = words[1]
	case "ttl":
		v.TTL = uint8(number)
	case "tos":
		v.TOS = uint8(tos)
		if words[1] == "inherit" {
			v.TOS = 1
		}
	case "df":
		v.DF = map[string]lab.DF{"set": lab.DFSet, "inherit": lab.DFInherit}[words[1]]
	case "ageing":
		v.Ageing = uint32(number)
	default:
		return 0
	}
	return 2
}

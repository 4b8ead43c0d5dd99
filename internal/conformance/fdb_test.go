package conformance

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// zeroMAC is the address of a link's default entry, to whose remotes goes what
// no other entry is for.
const zeroMAC = "00:00:00:00:00:00"

// fdb runs a command of `bridge fdb` that has to succeed. The words are bridge's
// without the dev: ("append", zeroMAC, "dst", "10.99.0.2"), ("flush", "static").
func (l *link) fdb(t *testing.T, words ...string) {
	t.Helper()
	if err := l.tryFDB(t, words...); err != nil {
		t.Fatalf("fdb %s on %s: %v", strings.Join(words, " "), l.dev, err)
	}
}

// tryFDB runs a command of `bridge fdb` and returns what became of it.
func (l *link) tryFDB(t *testing.T, words ...string) error {
	t.Helper()
	if l.kind == kernel {
		return l.kernelFDB(t, words)
	}
	line := append([]string{"fdb"}, words...)
	at := min(len(line), 3) // behind the MAC address
	if words[0] == "flush" {
		at = 2
	}
	_, err := l.weft.Must(slices.Insert(line, at, "dev", l.dev)...)
	return err
}

// table is what `bridge fdb show dev X` prints of the link's own entries (self).
// Learnt ones end in a blank, as they do there.
func (l *link) table(t *testing.T) (lines []string) {
	t.Helper()
	if l.kind == user {
		lines = printed(must(l.weft.Must("fdb", "show", "dev", l.dev))(t))
		return slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, " self") })
	}
	for _, e := range must(l.FDB(l.dev))(t) {
		if e.Flags&unix.NTF_SELF != 0 {
			lines = append(lines, e.Line())
		}
	}
	return lines
}

// entry is what the table has of one MAC address.
func (l *link) entry(t *testing.T, mac string) (lines []string) {
	t.Helper()
	for _, line := range l.table(t) {
		if strings.HasPrefix(line, mac+" ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// awaitEntry waits until the table has exactly those lines of a MAC address.
func (l *link) awaitEntry(t *testing.T, mac string, want ...string) {
	t.Helper()
	if err := lab.Eventually(waitLimit, func() error {
		if got := l.entry(t, mac); !slices.Equal(got, want) {
			return fmt.Errorf("FDB of %s has %q of %s, want %q", l.dev, got, mac, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// portTable is what the bridge of a link has learnt or was told of MAC
// addresses behind it: `bridge fdb show brport X` without the link's own.
func (l *link) portTable(t *testing.T) (lines []string) {
	t.Helper()
	for _, e := range must(l.FDB(l.dev))(t) {
		if e.Flags&unix.NTF_SELF == 0 {
			lines = append(lines, e.Line())
		}
	}
	return lines
}

// kernelFDB reads the words as bridge does, and does what they say.
func (l *link) kernelFDB(t *testing.T, words []string) error {
	t.Helper()
	op, e, masks := lab.FDBOp(words[0]), lab.FDBEntry{Dev: l.dev}, fdbMasks{}
	words = words[1:]
	if op != "flush" {
		e.MAC = must(net.ParseMAC(words[0]))(t)
		words = words[1:]
	}
	for len(words) > 0 {
		n := readFDBWord(&e, &masks, op == "flush", words)
		if n == 0 {
			t.Fatalf("no word of bridge fdb %s: %q", op, words[0])
		}
		words = words[n:]
	}
	if op == "flush" {
		return l.FlushFDB(e, masks.state, masks.flags)
	}
	return l.ChangeFDB(op, e)
}

// fdbMasks say which bits of an entry have to be as a flush says.
type fdbMasks struct {
	state uint16
	flags uint8
}

// readFDBWord reads the first of some words, with its value, and says how many
// that were.
func readFDBWord(e *lab.FDBEntry, m *fdbMasks, flush bool, words []string) int {
	states, flags := fdbStates, fdbFlags
	if flush {
		states, flags = flushStates, flushFlags
	}
	if s, ok := states[words[0]]; ok {
		e.State, m.state = e.State|s.value, m.state|s.mask
		return 1
	}
	if f, ok := flags[words[0]]; ok {
		e.Flags, m.flags = e.Flags|f.value, m.flags|f.mask
		return 1
	}
	if len(words) < 2 {
		return 0
	}
	number, _ := strconv.ParseUint(words[1], 0, 32)
	switch words[0] {
	case "dst":
		e.Dst, _ = netip.ParseAddr(words[1])
	case "vlan":
		e.VLAN = uint16(number)
	case "port":
		e.Port = uint16(number)
	case "vni":
		e.VNI, e.HasVNI = uint32(number), true
	case "src_vni":
		e.SrcVNI, e.HasSrc = uint32(number), true
	case "via":
		e.Via = words[1]
	default:
		return 0
	}
	return 2
}

type stateBits struct{ value, mask uint16 }

type flagBits struct{ value, mask uint8 }

var (
	fdbStates = map[string]stateBits{
		"permanent": {lab.FDBPermanent, 0}, "local": {lab.FDBPermanent, 0},
		"static": {lab.FDBStatic, 0}, "temp": {lab.FDBStatic, 0}, "dynamic": {lab.FDBDynamic, 0},
	}
	fdbFlags = map[string]flagBits{
		"self": {unix.NTF_SELF, 0}, "router": {unix.NTF_ROUTER, 0}, "extern_learn": {unix.NTF_EXT_LEARNED, 0},
	}
	flushStates = map[string]stateBits{
		"permanent": {unix.NUD_PERMANENT, unix.NUD_PERMANENT}, "nopermanent": {0, unix.NUD_PERMANENT},
		"static": {unix.NUD_NOARP, unix.NUD_NOARP | unix.NUD_PERMANENT}, "nostatic": {0, unix.NUD_NOARP},
		"dynamic": {0, unix.NUD_NOARP | unix.NUD_PERMANENT}, "nodynamic": {unix.NUD_NOARP, unix.NUD_NOARP},
	}
	flushFlags = map[string]flagBits{
		"self":         {unix.NTF_SELF, 0},
		"extern_learn": {unix.NTF_EXT_LEARNED, unix.NTF_EXT_LEARNED}, "noextern_learn": {0, unix.NTF_EXT_LEARNED},
		"router": {unix.NTF_ROUTER, unix.NTF_ROUTER}, "norouter": {0, unix.NTF_ROUTER},
	}
)

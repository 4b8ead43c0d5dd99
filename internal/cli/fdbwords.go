package cli

import (
	"errors"
	"net/netip"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/routetable"
)

// newFDBChange is what the words of `weft fdb add` and its like say.
type newFDBChange struct {
	dev                        string
	hasMAC                     bool
	permanent, static, dynamic bool
	change                     dataplane.FDBChange
}

var fdbShowWords = grammar[newLink]{
	words: map[string]word[newLink]{
		"dev":    {"dev", takeName},
		"brport": {"dev", takeName},
	},
	refused: reasons("of `bridge fdb show` is not served", "br vlan state dynamic"),
	bare:    bareName,
}

var fdbWords = grammar[newFDBChange]{
	words: map[string]word[newFDBChange]{
		"to":           {"MAC", takeFDBAddress},
		"dev":          {"dev", func(c *cursor, into *newFDBChange) (err error) { into.dev, err = c.deviceName(); return err }},
		"dst":          {"dst", func(c *cursor, into *newFDBChange) (err error) { into.change.Dst, err = c.address(); return err }},
		"port":         {"port", func(c *cursor, into *newFDBChange) (err error) { into.change.Port, err = c.port(); return err }},
		"vni":          {"vni", takeFDBVNI},
		"via":          {"via", func(c *cursor, into *newFDBChange) (err error) { into.change.Via, err = c.deviceName(); return err }},
		"self":         fdbFlag("self", func(*newFDBChange) {}),
		"permanent":    fdbFlag("permanent", func(into *newFDBChange) { into.permanent = true }),
		"static":       fdbFlag("static", func(into *newFDBChange) { into.static = true }),
		"dynamic":      fdbFlag("dynamic", func(into *newFDBChange) { into.dynamic = true }),
		"router":       fdbFlag("router", func(into *newFDBChange) { into.change.Router = true }),
		"extern_learn": fdbFlag("extern_learn", func(into *newFDBChange) { into.change.ExternLearn = true }),
	},
	aliases: map[string]string{"local": "permanent", "temp": "static"},
	refused: fdbRefused,
	bare:    bareFDBAddress,
}

// fdbRefused are words of `bridge fdb` for other devices.
var fdbRefused = reasons(
	"is for the bridge that a device is a port of: use `bridge fdb`", "master use sticky vlan brport added_by_user noadded_by_user nosticky",
	"is for nexthop groups, which weft does not have: name each VTEP with `dst`", "nhid",
	"is for devices with several VNIs, which weft does not have: each of its links has one", "src_vni",
	"is for switch hardware, which weft does not drive", "offloaded nooffloaded offload",
)

func fdbFlag(sets string, set func(*newFDBChange)) word[newFDBChange] {
	return word[newFDBChange]{sets, func(_ *cursor, into *newFDBChange) error {
		set(into)
		return nil
	}}
}

const macShape = "a MAC address, such as 02:00:00:00:00:01"

func takeFDBAddress(c *cursor, into *newFDBChange) error {
	if into.hasMAC {
		return duplicate(into.change.MAC.String(), c.word)
	}
	v, err := c.value(macShape)
	if err != nil {
		return err
	}
	if !into.setMAC(v) {
		return c.wrong(v, macShape)
	}
	return nil
}

// bareFDBAddress takes the first word that is no other as the address.
func bareFDBAddress(c *cursor, into *newFDBChange) (bool, error) {
	if into.hasMAC {
		return false, nil
	}
	if !into.setMAC(c.word) {
		return true, usagef("%q is neither a word of this command nor %s", c.word, macShape)
	}
	return true, nil
}

func (w *newFDBChange) setMAC(s string) bool {
	mac, ok := parseMAC(s)
	if ok {
		w.change.MAC, w.hasMAC = routetable.MAC(mac), true
	}
	return ok
}

func takeFDBVNI(c *cursor, into *newFDBChange) error {
	vni, err := c.vni()
	into.change.VNI = &vni
	return err
}

// readFDBChange reads the words of `weft fdb OP`.
func readFDBChange(op dataplane.FDBOp, words []string) (*newFDBChange, error) {
	w := newFDBChange{change: dataplane.FDBChange{Op: op}}
	if err := fdbWords.read(&cursor{words: words}, &w); err != nil {
		return nil, err
	}
	if !w.hasMAC {
		return nil, usagef("no address given: `fdb %s` needs %s", op, macShape)
	}
	if w.dev == "" {
		return nil, usagef("no link given: `fdb %s` needs `dev NAME`", op)
	}
	w.change.State = w.state()
	if op == dataplane.FDBDelete {
		w.change.Dst = specified(w.change.Dst) // 0.0.0.0 stands for every VTEP
		return &w, nil
	}
	if !w.change.Dst.IsValid() {
		// Not bad usage: `bridge fdb` has entries without dst, for other devices.
		return nil, errors.New("Invalid argument: no `dst`: an entry of a vxlan link needs the VTEP that the address is behind; add `dst IP`") //nolint:staticcheck // ST1005: the kernel's own words come first
	}
	return &w, nil
}

// state is what comes of the words for it, of which bridge takes any number:
// permanent holds against all others, and dynamic against static.
func (w *newFDBChange) state() string {
	switch {
	case w.permanent:
		return "permanent"
	case w.dynamic:
		return "dynamic"
	case w.static:
		return "static"
	}
	return ""
}

// address reads the address of a host or of a group.
func (c *cursor) address() (netip.Addr, error) {
	const shape = "an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1"
	v, err := c.value(shape)
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Addr{}, c.wrong(v, shape)
	}
	return addr, c.plain(v, addr)
}

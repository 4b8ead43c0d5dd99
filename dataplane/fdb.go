package dataplane

import (
	"errors"
	"fmt"
	"iter"
	"net"

	"github.com/weftnet/weft/routetable"
)

// FDB tells the link's entries, the newest first, one for each remote. It may
// take its time: forwarding is not held up.
func (l *Link) FDB() (iter.Seq[FDBEntry], error) {
	if err := l.hasFDB(); err != nil {
		return nil, err
	}
	return func(yield func(FDBEntry) bool) {
		names, now := newNames(), clock()
		for e := range l.fdb.Entries() {
			for _, r := range e.Remotes {
				line := names.entry(e.MAC, &r, e.State, e.Flags)
				line.Used, line.Updated = secondsAgo(now, e.Used), secondsAgo(now, e.Updated)
				if !yield(line) {
					return
				}
			}
		}
	}, nil
}

func secondsAgo(now, then routetable.Tick) uint32 {
	if ago := int32(now - then); ago > 0 {
		return uint32(ago) / routetable.TicksPerSecond
	}
	return 0 // used since the clock was read
}

// ChangeFDB carries out one change, with the outcome that the kernel's device
// gives it.
func (l *Link) ChangeFDB(c *FDBChange) error {
	if err := l.changeFDB(c); err != nil {
		return fmt.Errorf("fdb %s %s dev %s: %w", c.Op, c.MAC, l.Name(), err)
	}
	return nil
}

func (l *Link) changeFDB(c *FDBChange) error {
	if err := l.hasFDB(); err != nil {
		return err
	}
	if c.Op == FDBDelete && !c.Dst.IsValid() {
		return explainFDB(l.fdb.Delete(c.MAC, nil))
	}
	remote, err := l.remoteOf(c)
	if err != nil {
		return err
	}
	state, flags, err := c.stateAndFlags()
	if err != nil {
		return err
	}
	switch c.Op {
	case FDBAdd:
		err = l.fdb.Add(c.MAC, *remote, state, flags, clock())
	case FDBAppend:
		err = l.fdb.Append(c.MAC, *remote, state, flags, clock())
	case FDBReplace:
		err = l.fdb.Replace(c.MAC, *remote, state, flags, clock())
	case FDBDelete:
		err = l.fdb.Delete(c.MAC, remote)
	default:
		return fmt.Errorf("unknown change: allowed are %s, %s, %s, %s", FDBAdd, FDBAppend, FDBReplace, FDBDelete)
	}
	return explainFDB(err)
}

// remoteOf completes what a change says of its remote by the link's own.
func (l *Link) remoteOf(c *FDBChange) (*routetable.Remote, error) {
	if !c.Dst.IsValid() {
		return nil, errors.New("Invalid argument: `dst IP` is missing, the VTEP that the address is behind") //nolint:staticcheck // begins as the kernel's message does, which people search for
	}
	if c.Op != FDBDelete && c.Dst.Is4() == l.ipv6 {
		return nil, fmt.Errorf("Address family not supported by protocol: dst %s is not of the link's underlay, which is %s", c.Dst, familyName(l.ipv6)) //nolint:staticcheck // likewise
	}
	r := &routetable.Remote{Addr: c.Dst, Port: c.Port, VNI: l.vni}
	if r.Port == 0 {
		r.Port = l.port.number
	}
	if c.VNI != nil {
		r.VNI = *c.VNI
	}
	if c.Via != "" {
		index, _, err := underlayDevice(c.Via)
		if err != nil {
			return nil, fmt.Errorf("Cannot find device %q: via names a device of the underlay: %w", c.Via, err) //nolint:staticcheck // likewise
		}
		r.IfIndex = index
	}
	return r, nil
}

func familyName(ipv6 bool) string {
	if ipv6 {
		return "IPv6"
	}
	return "IPv4"
}

func (c *FDBChange) stateAndFlags() (state routetable.State, flags routetable.Flags, err error) {
	if c.ExternLearn {
		flags |= routetable.ExternLearn
	}
	if c.Router {
		flags |= routetable.Router
	}
	switch c.State {
	case "", "permanent":
		return routetable.Permanent, flags, nil
	case "static":
		return routetable.Static, flags, nil
	case "dynamic":
		return routetable.Dynamic, flags, nil
	}
	return 0, 0, fmt.Errorf("state %q is unknown: allowed are permanent, static, dynamic", c.State)
}

// explainFDB says in the kernel's words what is wrong, and what to do.
func explainFDB(err error) error {
	for _, known := range []struct {
		is   error
		text string
	}{
		{routetable.ErrExists, "File exists: the address has an entry already: use `replace` to move it, or `append` for one more remote of a group or the zero address"},
		{routetable.ErrFull, "No space left on device: the link has as many entries as maxaddress allows: delete some"},
		{routetable.ErrNotFound, "No such file or directory: there is no such entry: `weft fdb show` lists what there is"},
		{routetable.ErrReplaceNotUnicast, "Cannot replace non-unicast fdb entries: delete the remote that is not wanted and append the other"},
		{routetable.ErrReplaceUnsupported, "Operation not supported: group and zero addresses cannot be replaced: use append"},
	} {
		if errors.Is(err, known.is) {
			return errors.New(known.text)
		}
	}
	return err
}

// FlushFDB removes the entries that the filter is for and returns how many.
func (l *Link) FlushFDB(f *FDBFilter) (int, error) {
	filter, err := f.resolve()
	if err == nil {
		err = l.hasFDB()
	}
	if err != nil {
		return 0, fmt.Errorf("fdb flush dev %s: %w", l.Name(), err)
	}
	return l.fdb.Flush(filter), nil
}

func (f *FDBFilter) resolve() (routetable.Filter, error) {
	out := routetable.Filter{VNI: f.VNI, Port: f.Port, Dst: f.Dst}
	for _, word := range f.Words {
		if !out.Word(word) {
			return out, fmt.Errorf("filter %q is unknown: allowed are permanent, static, dynamic, extern_learn and router, each also with `no` in front", word)
		}
	}
	return out, nil
}

// names finds the names of underlay devices, each once.
type names map[int]string

func newNames() names { return names{0: ""} }

func (n names) entry(mac routetable.MAC, r *routetable.Remote, s routetable.State, f routetable.Flags) FDBEntry {
	return FDBEntry{
		MAC: mac, Dst: r.Addr, Port: r.Port, VNI: r.VNI, Via: n.of(r.IfIndex), ViaIndex: r.IfIndex, State: s.String(),
		ExternLearn: f&routetable.ExternLearn != 0, Router: f&routetable.Router != 0,
	}
}

func (n names) of(index int) string {
	name, known := n[index]
	if !known {
		name = fmt.Sprintf("if%d", index)
		if dev, err := net.InterfaceByIndex(index); err == nil {
			name = dev.Name
		}
		n[index] = name
	}
	return name
}

package routetable

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func remote(n byte) Remote {
	return Remote{Addr: netip.AddrFrom4([4]byte{192, 0, 2, n}), Port: 4789, VNI: 5, IfIndex: int(n)}
}

var (
	station   = MAC{2, 0, 0, 0, 0, 1}
	broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	group     = MAC{1, 0, 0x5e, 0, 0, 1}
)

func newFDB() *FDB { return NewFDB(Options{Learned: Remote{Port: 4789, VNI: 5}}) }

func wantRemotes(t *testing.T, fdb *FDB, mac MAC, want ...Remote) {
	t.Helper()
	if got := fdb.Lookup(mac, 0); !slices.Equal(got, want) {
		t.Errorf("%v goes to %v, not %v", mac, got, want)
	}
}

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, not %v", got, want)
	}
}

// An address without an entry goes where the all-zero MAC goes.
func TestFDBDefault(t *testing.T) {
	fdb := newFDB()
	all := []MAC{{}, station, broadcast, group}
	one, two := remote(1), remote(2)
	for _, mac := range all {
		wantRemotes(t, fdb, mac)
	}
	wantError(t, fdb.ChangeDefault(nil, &one, 0), nil)
	for _, mac := range all {
		wantRemotes(t, fdb, mac, one)
	}
	wantError(t, fdb.Add(broadcast, two, Permanent, 0, 0), nil)
	wantRemotes(t, fdb, broadcast, two)
	wantRemotes(t, fdb, group, one)
	if got := fdb.Learn(station, two.Addr, two.IfIndex, 0); got != Learnt {
		t.Errorf("verdict %v", got)
	}
	wantRemotes(t, fdb, station, two)
	wantError(t, fdb.ChangeDefault(&one, nil, 0), nil)
	wantRemotes(t, fdb, group)
}

// The kernel's selftest test_vxlan_fdb_changelink.sh: what was appended stays
// when the link's remote changes to it and away.
func TestFDBChangeDefaultKeepsWhatWasAppended(t *testing.T) {
	fdb := newFDB()
	r10, r20, r30 := remote(10), remote(20), remote(30)
	wantError(t, fdb.ChangeDefault(nil, &r10, 0), nil)
	wantError(t, fdb.Append(MAC{}, r20, Permanent, 0, 0), nil)
	wantError(t, fdb.ChangeDefault(&r10, &r30, 0), nil)
	wantRemotes(t, fdb, MAC{}, r20, r30)
	sameAddress := r30
	sameAddress.IfIndex++
	wantError(t, fdb.ChangeDefault(&r30, &sameAddress, 0), nil)
	wantRemotes(t, fdb, MAC{}, r20, r30)
}

// What bridge fdb reports for each operation on a kernel device.
func TestFDBErrors(t *testing.T) {
	fdb := NewFDB(Options{Limit: 2})
	r, other := remote(1), remote(2)
	wantError(t, fdb.Replace(MAC{}, r, Permanent, 0, 0), ErrReplaceUnsupported)
	wantError(t, fdb.Replace(group, r, Permanent, 0, 0), ErrReplaceUnsupported)
	wantError(t, fdb.Delete(station, nil), ErrNotFound)
	wantError(t, fdb.Append(group, r, Permanent, 0, 0), nil)
	wantError(t, fdb.Replace(group, r, Permanent, 0, 0), ErrReplaceNotUnicast)
	wantError(t, fdb.Replace(station, r, Permanent, 0, 0), nil)
	wantError(t, fdb.Add(station, r, Permanent, 0, 0), ErrExists)
	wantError(t, fdb.Delete(station, &other), nil)
	wantError(t, fdb.Append(group, other, Permanent, 0, 0), nil) // remotes do not count
	for _, add := range []func(MAC, Remote, State, Flags, Tick) error{fdb.Add, fdb.Append, fdb.Replace} {
		wantError(t, add(MAC{4}, r, Permanent, 0, 0), ErrFull)
	}
	wantError(t, fdb.ChangeDefault(nil, &r, 0), ErrFull)
	if got := fdb.Learn(MAC{4}, r.Addr, 0, 0); got != Learnt || fdb.Len() != 2 {
		t.Errorf("a full table: verdict %v, %d entries", got, fdb.Len())
	}
	wantRemotes(t, fdb, MAC{4})
	wantError(t, fdb.Delete(station, nil), nil)
	wantError(t, fdb.Add(MAC{4}, r, Permanent, 0, 0), nil)
}

// A refused replace has changed the state by then: seen on Linux 6.18 with
// bridge fdb replace 00:00:00:00:00:00 dev vx0 dst 192.0.2.3 static.
func TestFDBRefusedReplaceSetsState(t *testing.T) {
	fdb := newFDB()
	r := remote(1)
	wantError(t, fdb.ChangeDefault(nil, &r, 0), nil)
	watch := fdb.Watch(10)
	defer watch.Close()
	wantError(t, fdb.Replace(MAC{}, remote(3), Static, 0, 1), ErrReplaceNotUnicast)
	if e, _ := fdb.Entry(MAC{}); e.State != Static || e.Updated != 0 || len(watch.Events()) != 0 {
		t.Errorf("%+v, %d events", e, len(watch.Events()))
	}
}

func TestFDBStateString(t *testing.T) {
	for state, want := range map[State]string{Dynamic: "", Static: "static", Permanent: "permanent"} {
		if got := state.String(); got != want {
			t.Errorf("%d is %q", state, got)
		}
	}
}

// A learnt entry has the link's port and VNI, whoever the frame came from.
func TestFDBLearn(t *testing.T) {
	fdb := newFDB()
	addr := netip.MustParseAddr("fe80::1")
	fdb.Learn(station, addr, 7, 3)
	e, ok := fdb.Entry(station)
	want := Remote{Addr: addr, Port: 4789, VNI: 5, IfIndex: 7}
	if !ok || !slices.Equal(e.Remotes, []Remote{want}) || e.State != Dynamic || e.Flags != 0 || e.Updated != 3 || e.Used != 3 {
		t.Errorf("%+v", e)
	}
	for _, mac := range []MAC{{}, broadcast, group} {
		if got := fdb.Learn(mac, addr, 7, 3); got != Invalid {
			t.Errorf("source %v: verdict %v", mac, got)
		}
	}
}

// What was put by hand stays where it is. With via it refuses even its own
// remote, unless that is link-local.
func TestFDBLearnPinned(t *testing.T) {
	for _, state := range []State{Static, Permanent} {
		fdb := newFDB()
		r := remote(1)
		wantError(t, fdb.Add(station, r, state, 0, 0), nil)
		for at, want := range map[Remote]Verdict{
			r:                         Learnt,
			{Addr: r.Addr}:            Pinned,
			{Addr: remote(2).Addr}:    Pinned,
			{r.Addr, 1, 2, r.IfIndex}: Learnt,
		} {
			if got := fdb.Learn(station, at.Addr, at.IfIndex, 9); got != want {
				t.Errorf("%v, from %v: verdict %v", state, at, got)
			}
		}
		wantRemotes(t, fdb, station, r)
	}
}

// A dynamic entry with via is moved by every frame of a global source: to the
// same address, and each time it is told.
func TestFDBLearnWithVia(t *testing.T) {
	fdb := newFDB()
	r := remote(1)
	wantError(t, fdb.Add(station, r, Dynamic, ExternLearn, 0), nil)
	watch := fdb.Watch(10)
	defer watch.Close()
	for range 3 {
		fdb.Learn(station, r.Addr, 0, 0)
		want := Event{MAC: station, Remote: r, Flags: ExternLearn}
		if got := <-watch.Events(); got != want {
			t.Errorf("%+v", got)
		}
	}
	wantRemotes(t, fdb, station, r)
}

func TestFDBAgeing(t *testing.T) {
	// The clock wraps afterwards, or while time passes.
	for _, start := range []Tick{0, ^Tick(0) - 10, ^Tick(0) - 30} {
		fdb := NewFDB(Options{Ageing: 3 * time.Second})
		fdb.Learn(station, remote(1).Addr, 0, start)
		watch := fdb.Watch(10)
		for tick := range Tick(25) {
			fdb.Lookup(station, start+tick) // sending does not keep it alive
			if got := fdb.Sweep(start + tick); got != start+25 || fdb.Len() != 1 {
				t.Fatalf("after %d ticks: next at %d, %d entries", tick, got-start, fdb.Len())
			}
		}
		if got := fdb.Sweep(start + 25); got != start+50 || fdb.Len() != 0 {
			t.Errorf("next at %d, %d entries", got-start, fdb.Len())
		}
		if got := <-watch.Events(); !got.Deleted || !got.Stale || got.MAC != station {
			t.Errorf("%+v", got)
		}
		watch.Close()
	}
}

// A worker that reads the clock after the sweeper did has fresh entries.
func TestFDBSweepBehindClock(t *testing.T) {
	fdb := NewFDB(Options{Ageing: time.Second})
	fdb.Learn(station, remote(1).Addr, 0, 100)
	if fdb.Sweep(90); fdb.Len() != 1 {
		t.Error("an entry of the future is old")
	}
}

func TestTicks(t *testing.T) {
	if got := TickOf(10*time.Second + 130*time.Millisecond); got != 81 {
		t.Error(got)
	}
	for d, want := range map[time.Duration]uint32{0: 0, 1: 1, time.Second: 8, time.Second + 1: 9, 1<<63 - 1: 1<<31 - 2} {
		if got := ticksOf(d); got != want {
			t.Errorf("%v: %d ticks", d, got)
		}
	}
	// No ageing time of ip link, which has 32 bits of seconds, wraps.
	fdb := NewFDB(Options{Ageing: (1<<32 - 1) * time.Second})
	fdb.Learn(station, remote(1).Addr, 0, 0)
	if fdb.Sweep(1 << 30); fdb.Len() != 1 {
		t.Error("an entry of an eighth of its time is old")
	}
}

func TestMACString(t *testing.T) {
	if got := (MAC{0, 1, 0xab, 0xcd, 0xef, 0xff}).String(); got != "00:01:ab:cd:ef:ff" {
		t.Error(got)
	}
}

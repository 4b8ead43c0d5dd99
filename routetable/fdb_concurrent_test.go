package routetable

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// whole returns a remote all of whose fields say n, so that a mixture of two
// shows.
func whole(n int) Remote {
	return Remote{Addr: vtep(n), Port: uint16(n), VNI: uint32(n), IfIndex: n}
}

func checkWhole(t *testing.T, r Remote) {
	if r != whole(int(r.VNI)) {
		t.Errorf("a mixture: %v", r)
	}
}

// crowd is a table that many use at once. There are three kinds of addresses:
// pinned ones, which are replaced and must always be there; those of the
// managers, added and deleted; and those that are learnt, aged and flushed.
type crowd struct {
	*testing.T
	fdb    *FDB
	pinned []MAC
	clock  atomic.Uint32
	wait   sync.WaitGroup
}

func (c *crowd) now() Tick { return Tick(c.clock.Load()) }

// start runs f n times in a goroutine of its own.
func (c *crowd) start(n int, f func(r *rand.Rand)) {
	seed := rand.Uint64()
	c.wait.Go(func() {
		r := rand.New(rand.NewPCG(seed, 0))
		for range n {
			if c.Failed() {
				return
			}
			f(r)
		}
	})
}

// TestFDBCrowd has all kinds of users at the table at once; see crowd. Few
// shards are used, so that they grow and shrink all the time under everybody.
func TestFDBCrowd(t *testing.T) {
	rounds := 50_000
	if underRace {
		rounds = 10_000
	}
	c := &crowd{T: t, fdb: newFDB()}
	c.fdb.seed = hashSeed{0, 1 << 47} // what is hashed of a MAC comes out in few shards
	for i := range 100 {
		mac := MAC{2, 1, byte(i)}
		c.pinned = append(c.pinned, mac)
		wantError(t, c.fdb.Add(mac, whole(i), Static, 0, 0), nil)
	}
	watch := c.fdb.Watch(64)
	defer watch.Close()
	c.start(rounds, c.lookup)
	c.start(rounds, c.lookup)
	c.start(rounds, c.learn)
	c.start(rounds, c.learn)
	c.start(rounds, c.replacePinned)
	c.start(rounds, c.manage)
	c.start(rounds/200, c.sweep)
	c.start(rounds/200, c.flush)
	c.start(rounds/200, c.dump)
	c.wait.Wait()
	c.checkEnd()
}

func (c *crowd) lookup(r *rand.Rand) {
	c.fdb.likely(roaming(r)) // as Prefetch does when there are more entries
	list := c.fdb.Lookup(c.pinned[r.IntN(len(c.pinned))], c.now())
	if len(list) != 1 {
		c.Errorf("a pinned address goes to %v", list)
		return
	}
	checkWhole(c.T, list[0])
	for _, remote := range c.fdb.Lookup(managed(r), c.now()) {
		checkWhole(c.T, remote)
	}
	for _, remote := range c.fdb.Lookup(roaming(r), c.now()) {
		if want := (Remote{Addr: remote.Addr, Port: 4789, VNI: 5}); remote != want {
			c.Errorf("learnt as %v", remote)
		}
	}
}

func managed(r *rand.Rand) MAC { return MAC{1, 2, byte(r.IntN(20))} }
func roaming(r *rand.Rand) MAC { return MAC{2, 3, byte(r.IntN(2)), byte(r.Uint32())} }

func (c *crowd) learn(r *rand.Rand) {
	src := roaming(r)
	for range 3 {
		c.fdb.Learn(src, vtep(r.IntN(3)), 0, c.now())
	}
	mac := c.pinned[r.IntN(len(c.pinned))]
	if got := c.fdb.Learn(mac, netip.IPv4Unspecified(), 0, c.now()); got != Pinned {
		c.Errorf("a pinned address was moved: verdict %v", got)
	}
}

func (c *crowd) replacePinned(r *rand.Rand) {
	if err := c.fdb.Replace(c.pinned[r.IntN(len(c.pinned))], whole(r.IntN(1000)), Static, 0, c.now()); err != nil {
		c.Error(err)
	}
}

func (c *crowd) manage(r *rand.Rand) {
	mac := managed(r)
	if r.IntN(3) > 0 {
		if err := c.fdb.Append(mac, whole(r.IntN(4)), Permanent, 0, c.now()); err != nil {
			c.Error(err)
		}
		return
	}
	remote := whole(r.IntN(4))
	_ = c.fdb.Delete(mac, &remote)
}

func (c *crowd) sweep(*rand.Rand) {
	c.clock.Add(500)
	c.fdb.Sweep(c.now())
}

func (c *crowd) flush(r *rand.Rand) {
	if r.IntN(2) == 0 {
		c.fdb.Down()
		return
	}
	addr := vtep(r.IntN(3))
	c.fdb.Flush(Filter{Dst: addr, State: 0, StateMask: BitNoARP | BitPermanent})
}

func (c *crowd) dump(*rand.Rand) {
	seen := map[MAC]bool{}
	for e := range c.fdb.Entries() {
		if seen[e.MAC] || len(e.Remotes) == 0 {
			c.Errorf("twice or empty: %+v", e)
		}
		seen[e.MAC] = true
	}
	for _, mac := range c.pinned {
		if !seen[mac] {
			c.Errorf("%v is missing", mac)
		}
	}
}

// checkEnd counts once more what is there.
func (c *crowd) checkEnd() {
	live := checkShards(c.T, c.fdb)
	if dump := slices.Collect(c.fdb.Entries()); c.fdb.Len() != live || len(dump) != live {
		c.Errorf("%d, %d or %d entries", c.fdb.Len(), len(dump), live)
	}
}

// checkShards counts slot by slot, holds it against the shards' own books, and
// returns how many entries there are.
func checkShards(t *testing.T, fdb *FDB) (all int) {
	t.Helper()
	for i := range fdb.shards {
		s := &fdb.shards[i]
		live, filled, size := 0, 0, 0
		if table := s.table.Load(); table != nil {
			size = len(table.slots)
			for j := range table.slots {
				if table.slots[j].key.Load() != 0 {
					filled++
				}
				if table.slots[j].remotes.Load() != nil {
					live++
				}
			}
		}
		if live != s.live || filled != s.filled || 4*filled > 3*size {
			t.Errorf("shard %d counts %d entries in %d slots, and has %d in %d of %d", i, s.live, s.filled, live, filled, size)
		}
		all += live
	}
	return all
}

// Entries added by many at once are all there: as many as the limit allows.
func TestFDBConcurrentLimit(t *testing.T) {
	const limit = 1000
	fdb := NewFDB(Options{Limit: limit})
	var added atomic.Int64
	var wait sync.WaitGroup
	for g := range byte(4) {
		wait.Go(func() {
			for i := range 500 {
				if fdb.Add(MAC{2, g, byte(i >> 8), byte(i)}, remote(g), Static, 0, 0) == nil {
					added.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if added.Load() != limit || fdb.Len() != limit || len(slices.Collect(fdb.Entries())) != limit {
		t.Errorf("%d were added, %d are there", added.Load(), fdb.Len())
	}
}

// The events of one MAC come in the order of its changes, whoever makes them:
// a table kept by them is the table.
func TestWatchOrder(t *testing.T) {
	fdb := newFDB()
	watch := fdb.Watch(100_000)
	var wait sync.WaitGroup
	for g := range uint64(3) {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(g, 1))
			for range 3000 {
				mac := MAC{2, byte(r.IntN(4))}
				if r.IntN(3) == 0 {
					_ = fdb.Delete(mac, nil)
				} else {
					fdb.Learn(mac, vtep(r.IntN(3)), 0, 0)
				}
			}
		})
	}
	wait.Wait()
	watch.Close()
	copied := map[MAC]Remote{}
	for e := range watch.Events() {
		if have, ok := copied[e.MAC]; e.Deleted && (!ok || have != e.Remote) {
			t.Fatalf("%+v is gone, but was %v", e, have)
		}
		if copied[e.MAC] = e.Remote; e.Deleted {
			delete(copied, e.MAC)
		}
	}
	for e := range fdb.Entries() {
		if copied[e.MAC] != e.Remotes[0] {
			t.Errorf("%v: %v, not %v", e.MAC, copied[e.MAC], e.Remotes[0])
		}
		delete(copied, e.MAC)
	}
	if len(copied) > 0 || watch.Lost() > 0 {
		t.Errorf("%v left over, %d lost", copied, watch.Lost())
	}
}

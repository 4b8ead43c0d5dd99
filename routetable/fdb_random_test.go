package routetable

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestFDBAgainstModel does the same random things to a table and to the model,
// and compares all that can be seen after every one.
func TestFDBAgainstModel(t *testing.T) {
	seeds := uint64(500)
	if underRace {
		seeds = 50
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 0))
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		runScript(t, script)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// FuzzFDB is the same for scripts that a fuzzer thinks of.
func FuzzFDB(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 8 {
		script := make([]byte, 200)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		runScript(t, script[:min(len(script), 2000)])
	})
}

// pair is a table, its model, and a script to read operations from.
type pair struct {
	*testing.T
	fdb    *FDB
	model  *model
	watch  *Watch
	script []byte
	now    Tick
	did    string
}

func runScript(t *testing.T, script []byte) {
	p := &pair{T: t, script: script, now: 1000}
	limit := max(0, int(p.next()%48)-24) // 0 is none
	learned := Remote{Port: 4789, VNI: 5}
	p.fdb = NewFDB(Options{Learned: learned, Limit: limit, Ageing: 10 * time.Second})
	if p.next()%4 > 0 {
		// All MACs to one shard, and in it to the place that their first byte
		// says: growth, tombstones and collisions with a handful of addresses.
		p.fdb.seed = hashSeed{0, 1}
	}
	p.model = &model{limit: limit, learned: learned, ageing: 80}
	p.watch = p.fdb.Watch(1000)
	defer p.watch.Close()
	for len(p.script) > 0 && !t.Failed() {
		p.step()
		p.compare()
	}
}

// next takes a byte of the script; there are zeros behind its end.
func (p *pair) next() byte {
	if len(p.script) == 0 {
		return 0
	}
	b := p.script[0]
	p.script = p.script[1:]
	return b
}

// mac is one of a few dozen addresses, some of which have a meaning.
func (p *pair) mac() MAC {
	switch b := p.next(); {
	case b < 40:
		return MAC{}
	case b < 50:
		return MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	case b < 60:
		return MAC{1, 0, 0x5e, 0, 0, b % 2}
	default:
		return MAC{2 * (b % 10), 0, 0x10, 0, 0, b / 64}
	}
}

func (p *pair) remote() Remote {
	b := p.next()
	if b == 255 {
		return Remote{Addr: netip.IPv4Unspecified()}
	}
	return Remote{Addr: p.addr(b), Port: 4789 + uint16(b>>2&1), VNI: 5 * uint32(b>>3&1), IfIndex: int(b >> 4 & 1)}
}

func (p *pair) addr(b byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, b & 3}) }

// maybeRemote may be nil; addresses are few, so it often is one of the table's.
func (p *pair) maybeRemote() *Remote {
	if p.next()%4 == 0 {
		return nil
	}
	r := p.remote()
	return &r
}

// step does one operation to both and compares what it returns.
func (p *pair) step() {
	p.now += []Tick{0, 0, 1, 7, 30, 90}[p.next()%6]
	switch p.next() % 12 {
	case 0, 1, 2:
		p.userChange()
	case 3, 4, 5, 6:
		src, addr, ifIndex := p.mac(), p.addr(p.next()), int(p.next()&1)
		p.did = fmt.Sprint("learn ", src, addr, ifIndex)
		p.same(p.fdb.Learn(src, addr, ifIndex, p.now), p.model.snoop(src, addr, ifIndex, p.now))
	case 7:
		mac, r := p.mac(), p.maybeRemote()
		p.did = fmt.Sprint("delete ", mac, r)
		p.same(p.fdb.Delete(mac, r), p.model.delete(mac, r))
	case 8:
		from, to := p.maybeRemote(), p.maybeRemote()
		p.did = fmt.Sprint("default ", from, to)
		p.same(p.fdb.ChangeDefault(from, to, p.now), p.model.changeDefault(from, to, p.now))
	case 9:
		dst := p.mac()
		p.did = fmt.Sprint("lookup ", dst)
		if got, want := p.fdb.Lookup(dst, p.now), p.model.xmit(dst, p.now); !slices.Equal(got, want) {
			p.Errorf("%s: goes to %v, not %v", p.did, got, want)
		}
	case 10:
		p.flush()
	case 11:
		p.age()
	}
}

func (p *pair) userChange() {
	mac, r, s, f, op := p.mac(), p.remote(), State(p.next()%3), []Flags{0, 0, 0, ExternLearn, Router, ExternLearn | Router}[p.next()%6], p.next()%3
	p.did = fmt.Sprint([]string{"add ", "append ", "replace "}[op], mac, r, s, f)
	do := []func(MAC, Remote, State, Flags, Tick) error{p.fdb.Add, p.fdb.Append, p.fdb.Replace}[op]
	how := []nlm{{excl: true}, {append: true}, {replace: true}}[op]
	p.same(do(mac, r, s, f, p.now), p.model.user(mac, r, s, f, how, p.now))
}

func (p *pair) flush() {
	if p.next()%4 == 0 {
		p.did = "down"
		p.same(p.fdb.Down(), p.model.stop())
		return
	}
	all := append(slices.Sorted(maps.Keys(flushWords)), "extern_learn", "noextern_learn", "router", "norouter")
	var f Filter
	var words []string
	for range p.next() % 3 {
		word := all[int(p.next())%len(all)]
		if words = append(words, word); !f.Word(word) {
			p.Errorf("%q is no word", word)
		}
	}
	r, pick := p.remote(), p.next()
	if pick&1 != 0 {
		f.VNI = &r.VNI
	}
	if pick&2 != 0 {
		f.Port = &r.Port
	}
	if pick&4 != 0 {
		f.Dst = r.Addr
	}
	p.did = fmt.Sprint("flush ", words, pick, r)
	p.same(p.fdb.Flush(f), p.model.flush(f, words))
}

func (p *pair) age() {
	if p.next()%4 == 0 {
		d := time.Duration(p.next()) * time.Second / 8
		p.fdb.SetAgeing(d)
		p.model.setAgeing(d)
	}
	p.did = "sweep"
	p.same(p.fdb.Sweep(p.now), p.model.cleanup(p.now))
}

func (p *pair) same(got, want any) {
	if got != want {
		p.Errorf("%s: %v, not %v", p.did, got, want)
	}
}

// compare looks at everything without changing anything.
func (p *pair) compare() {
	p.Helper()
	p.same(p.fdb.Len(), len(p.model.entries))
	p.same(checkShards(p.T, p.fdb), len(p.model.entries))
	dump := slices.Collect(p.fdb.Entries())
	if len(dump) != len(p.model.entries) {
		p.Fatalf("%s: %d entries, not %d", p.did, len(dump), len(p.model.entries))
	}
	for i, want := range p.model.entries {
		sameEntry(p, dump[i], want)
		if got, ok := p.fdb.Entry(want.mac); !ok {
			p.Errorf("%s: no entry for %v", p.did, want.mac)
		} else {
			sameEntry(p, got, want)
		}
	}
	p.compareEvents()
}

func sameEntry(p *pair, got Entry, want *modelEntry) {
	p.Helper()
	if got.MAC != want.mac || !slices.Equal(got.Remotes, want.remotes) || got.State != want.state() || got.Flags != want.flags() ||
		got.Used != want.used || got.Updated != want.updated {
		p.Errorf("%s: the entry is %+v, not %+v", p.did, got, *want)
	}
}

// compareEvents: the order between MACs of one flush is the table's business.
func (p *pair) compareEvents() {
	p.Helper()
	var got []Event
	for range len(p.watch.events) {
		got = append(got, <-p.watch.Events())
	}
	byMAC := func(a, b Event) int { return slices.Compare(a.MAC[:], b.MAC[:]) }
	slices.SortStableFunc(got, byMAC)
	slices.SortStableFunc(p.model.events, byMAC)
	if !slices.Equal(got, p.model.events) || p.watch.Lost() != 0 {
		p.Errorf("%s: events %+v, not %+v", p.did, got, p.model.events)
	}
	p.model.events = nil
}

package dataplane

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/routetable"
)

// start makes the link's default entry and lets it live: from now on what the
// system does to the device is followed, and entries age.
func (l *Link) start(log *zap.Logger) {
	go l.watch(log)
	if l.fdb == nil {
		return
	}
	if to := l.set.Load().defaultRemote(); to != nil {
		// An empty table has room for it.
		_ = l.fdb.ChangeDefault(nil, to, clock())
	}
	if l.neighbours != nil {
		go l.watchNeighbours(log)
	}
	go l.age()
}

// take stores what the system has made of the device, and does what goes with
// up and down: the group is joined while the device is up, and what was learnt
// is forgotten when it goes down.
func (l *Link) take(next *attributes, log *zap.Logger) {
	before := l.attrs.Swap(next)
	l.short.changed()
	if before.up && !next.up && l.fdb != nil {
		l.fdb.Down()
	}
	if before.netns != next.netns || before.index != next.index {
		l.neighbours.lookAgain()
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	l.followGroup(next.up, log)
}

// followGroup joins or leaves the link's group, with changing held.
func (l *Link) followGroup(up bool, log *zap.Logger) {
	select {
	case <-l.stop:
		return
	default:
	}
	if l.group == nil {
		return
	}
	act, word := l.group.Leave, "leave"
	if up {
		act, word = l.group.Join, "join"
	}
	if err := act(); err != nil {
		log.Warn("cannot "+word+" the multicast group", zap.String("link", l.Name()), zap.Stringer("group", l.Config().Remote), zap.Error(err))
	}
}

// sweepEvery bounds how long an entry outlives its time, as in the kernel.
const sweepEvery = 10 * time.Second

// age removes learnt entries that nothing was received from for too long.
func (l *Link) age() {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-l.aged:
		case <-timer.C:
		}
		now := clock()
		due := time.Duration(int32(l.fdb.Sweep(now)-now)) * time.Second / routetable.TicksPerSecond
		timer.Reset(min(sweepEvery, due))
	}
}

func newFDB(cfg *LinkConfig, changes *atomic.Uint64) *routetable.FDB {
	return routetable.NewFDB(routetable.Options{
		Learned: routetable.Remote{Port: cfg.Port, VNI: cfg.VNI},
		Limit:   int(cfg.MaxAddress),
		Ageing:  ageing(cfg.Ageing),
		Changes: changes,
	})
}

// ageing turns seconds as configured into a duration.
func ageing(seconds uint32) time.Duration {
	if seconds == 0 {
		seconds = DefaultAgeing
	}
	return time.Duration(seconds) * time.Second
}

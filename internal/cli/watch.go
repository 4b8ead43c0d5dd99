package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weftnet/weft/internal/control"
)

// How long and how often a socket that nobody answers on is asked again: there
// is a moment in which a daemon has made its file and does not listen yet.
const (
	reviveTimeout  = time.Second
	reviveInterval = 10 * time.Millisecond
)

// heard is what came of following a daemon.
type heard int

const (
	nobody  heard = iota // nobody answers on the socket
	refused              // somebody does, and does not tell us anything
	ended                // a daemon did, until it ended
)

// watchDaemons has follow called, each time in a goroutine of its own, for
// every daemon of the run directory: those that are there and those that come.
// It returns when ctx has ended and all calls have returned.
func watchDaemons(ctx context.Context, dir control.RunDir, follow func(ctx context.Context, socket string) heard) error {
	changes, err := newDirChanges(string(dir))
	if err != nil {
		return err
	}
	defer changes.close()
	ctx, cancel := context.WithCancel(ctx)
	w := daemonWatch{follow: follow, sockets: map[string]socketState{}, ended: make(chan follower)}
	defer w.drain()
	defer cancel()
	go changes.read(ctx)
	for ctx.Err() == nil {
		if err := changes.extend(); err != nil {
			return err
		}
		sockets, err := dir.Sockets()
		if err != nil {
			return err
		}
		w.start(ctx, sockets)
		select {
		case <-ctx.Done():
		case f := <-w.ended:
			w.settle(f)
		case names := <-changes.names:
			w.revive(dir, names)
		}
	}
	return nil
}

// socketState says what is to be done about a socket that is known.
type socketState int

const (
	followed socketState = iota // somebody looks after it
	renewed                     // the same, and its file was made anew since
	silent                      // there is nothing to be heard, unless its file is made anew
)

// follower is the end of looking after a socket.
type follower struct {
	socket string
	heard  heard
}

type daemonWatch struct {
	follow  func(context.Context, string) heard
	sockets map[string]socketState
	ended   chan follower
	running int
}

// start looks after sockets that are not known.
func (w *daemonWatch) start(ctx context.Context, sockets []string) {
	for _, socket := range sockets {
		if _, known := w.sockets[socket]; !known {
			w.sockets[socket] = followed
			w.running++
			go func() { w.ended <- follower{socket, w.persist(ctx, socket)} }()
		}
	}
}

// persist follows, and asks again for a while if nobody answers.
func (w *daemonWatch) persist(ctx context.Context, socket string) heard {
	end := time.Now().Add(reviveTimeout)
	tick := time.NewTicker(reviveInterval)
	defer tick.Stop()
	for {
		if h := w.follow(ctx, socket); h != nobody {
			return h
		}
		select {
		case <-ctx.Done():
			return nobody
		case now := <-tick.C:
			if _, err := os.Stat(socket); now.After(end) || errors.Is(err, fs.ErrNotExist) {
				return nobody
			}
		}
	}
}

// settle notes that a socket is not looked after any more. If a daemon ended
// there, start takes the next one up when there is a file.
func (w *daemonWatch) settle(f follower) {
	w.running--
	if f.heard == ended || w.sockets[f.socket] == renewed {
		delete(w.sockets, f.socket)
		return
	}
	w.sockets[f.socket] = silent
}

// revive gives files that were made anew another chance.
func (w *daemonWatch) revive(dir control.RunDir, names []string) {
	for _, name := range names {
		socket := filepath.Join(string(dir), name)
		switch state, known := w.sockets[socket]; {
		case known && state == silent:
			delete(w.sockets, socket)
		case known:
			w.sockets[socket] = renewed
		}
	}
}

// drain waits for all who look after sockets, whose context has ended.
func (w *daemonWatch) drain() {
	for ; w.running > 0; w.running-- {
		<-w.ended
	}
}

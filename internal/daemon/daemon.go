// Package daemon is the process that holds the links of one network
// namespace: how it starts, what it answers on its control socket, and when
// it ends. A daemon in the foreground lasts until it is told to end; one that
// was started by the first `weft link add` ends after its last link.
package daemon

import (
	"context"
	"iter"
	"net"
	"net/netip"
	"sync"

	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// link is what a daemon tells about one link.
type link interface {
	Info() dataplane.LinkInfo
	Stats() dataplane.Stats
	Change(*dataplane.LinkChange) error
	FDB() (iter.Seq[dataplane.FDBEntry], error)
	ChangeFDB(*dataplane.FDBChange) error
	FlushFDB(*dataplane.FDBFilter) (int, error)
	Routes() (iter.Seq[dataplane.RouteEntry], error)
	Route(netip.Addr) (dataplane.RouteEntry, error)
	ChangeRoute(*dataplane.RouteChange) error
}

// links is *dataplane.Dataplane with L = *dataplane.Link, or a stand-in with
// which the daemon's life can be tested without devices.
type links[L link] interface {
	AddLink(cfg dataplane.LinkConfig) (L, error)
	RemoveLink(name string) error
	Links() []L
	Gone() <-chan L
	WatchFDB() *dataplane.Watcher
	Close() error
}

// daemon answers for the links of one network namespace.
type daemon[L link] struct {
	log     *zap.Logger
	links   links[L]
	lasting bool // outlives its last link

	mu      sync.Mutex    // one change at a time; held while a link is added or removed
	served  bool          // has had a link
	closing bool          // on its way out: adds nothing any more
	idle    chan struct{} // closed when one that is not lasting has no link left
}

func newDaemon[L link](log *zap.Logger, of links[L], lasting bool) *daemon[L] {
	return &daemon[L]{log: log, links: of, lasting: lasting, idle: make(chan struct{})}
}

// run answers on l, and on first if not nil, until ctx ends or no link is left
// in a daemon that does not last. The socket is gone before the links are, so
// that nobody finds a daemon that cannot answer.
func (d *daemon[L]) run(ctx context.Context, l *net.UnixListener, first net.Conn) error {
	server := control.NewServer(d.exchange)
	go server.Serve(l)
	if first != nil {
		go d.serveFirst(server, first)
	}
	d.watch(ctx)
	d.close()
	l.Close()
	server.Close()
	return d.links.Close()
}

// serveFirst answers whoever started this daemon. Should that one give up
// before it has added a link, there is nothing to stay for.
func (d *daemon[L]) serveFirst(server *control.Server, first net.Conn) {
	server.Converse(first)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
}

// watch returns when it is time to end.
func (d *daemon[L]) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			d.log.Info("told to end: removing all links")
			return
		case <-d.idle:
			d.log.Info("no link left: ending")
			return
		case gone := <-d.links.Gone():
			d.log.Info("device was deleted", zap.String("link", gone.Info().Name))
			d.mu.Lock()
			d.settle()
			d.mu.Unlock()
		}
	}
}

// settle decides, with mu held, whether the daemon has anything to stay for.
func (d *daemon[L]) settle() {
	if d.lasting || d.closing || len(d.links.Links()) > 0 {
		return
	}
	d.closing = true
	close(d.idle)
}

func (d *daemon[L]) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closing = true
}

package etcdtest

import (
	"io"
	"net"
	"sync"
)

// wire is the way to a server. Cutting it does to clients what the death of
// the server does; the server itself waits for them when it is told to stop.
type wire struct {
	addr, server string
	listener     net.Listener

	mu    sync.Mutex
	ends  map[net.Conn]struct{} // nil while it is cut
	using sync.WaitGroup
}

// mend lets clients through again, on the address that it had.
func (w *wire) mend() error {
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addr, w.listener, w.ends = l.Addr().String(), l, map[net.Conn]struct{}{}
	w.using.Go(func() { w.accept(l) })
	return nil
}

func (w *wire) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		w.using.Go(func() { w.join(client) })
	}
}

func (w *wire) join(client net.Conn) {
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		client.Close()
		return
	}
	if !w.hold(client, server) {
		return
	}
	w.using.Go(func() { carry(server, client) })
	carry(client, server)
}

func carry(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	to.Close()
	from.Close()
}

// hold reports whether the wire is whole, and closes the ends if it is not.
func (w *wire) hold(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range ends {
		if w.ends == nil {
			e.Close()
		} else {
			w.ends[e] = struct{}{}
		}
	}
	return w.ends != nil
}

// cut ends all connections and lets none through.
func (w *wire) cut() {
	w.mu.Lock()
	if w.ends != nil {
		w.listener.Close()
	}
	for e := range w.ends {
		e.Close()
	}
	w.ends = nil
	w.mu.Unlock()
	w.using.Wait()
}

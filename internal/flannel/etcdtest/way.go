package etcdtest

import (
	"io"
	"net"
	"sync"
)

// Way is a way to a server. Cutting it does to clients what the death of the
// server does; the server itself waits for them when it is told to stop.
type Way struct {
	addr, server string
	listen       func(addr string) (net.Listener, error)
	listener     net.Listener

	mu    sync.Mutex
	ends  map[net.Conn]struct{} // nil while it is cut
	using sync.WaitGroup
}

func listenHere(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

// Addr is where clients come in.
func (w *Way) Addr() string { return w.addr }

// Mend lets clients through again, on the address that it had.
func (w *Way) Mend() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ends != nil {
		return nil
	}
	l, err := w.listen(w.addr)
	if err != nil {
		return err
	}
	w.addr, w.listener, w.ends = l.Addr().String(), l, map[net.Conn]struct{}{}
	w.using.Go(func() { w.accept(l) })
	return nil
}

func (w *Way) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		w.using.Go(func() { w.join(client) })
	}
}

func (w *Way) join(client net.Conn) {
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

// hold reports whether the way is whole, and closes the ends if it is not.
func (w *Way) hold(ends ...net.Conn) bool {
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

// Cut ends all connections and lets none through until Mend.
func (w *Way) Cut() {
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

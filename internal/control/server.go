package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// answerTimeout bounds how long a client of a server that is closed may take to
// read its last response.
const answerTimeout = 5 * time.Second

// acceptPause is for the time in which connections cannot be accepted.
const acceptPause = 20 * time.Millisecond

// Server answers requests, each connection in a goroutine of its own.
type Server struct {
	handle Handler

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	wg     sync.WaitGroup
}

// Handler answers a request. What it returns is the last response to it.
type Handler func(*Exchange) Response

// NewServer returns a server that lets handle answer; handle is called from
// several goroutines at once.
func NewServer(handle Handler) *Server {
	return &Server{handle: handle, conns: map[net.Conn]struct{}{}}
}

// Serve accepts connections of root and of the daemon's own user, and returns
// when l is closed. Whoever uses up the descriptors does not end it.
func (s *Server) Serve(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(acceptPause)
		case s.begin(conn):
			go s.admit(conn)
		}
	}
}

// Converse answers on conn, which it then owns, until the other end closes it
// or Close is called. Nothing is asked about who the other end is.
func (s *Server) Converse(conn net.Conn) {
	if !s.begin(conn) {
		return
	}
	defer s.end(conn)
	s.converse(conn, s.handle)
}

// Close ends every connection once the request that it is at is answered,
// and returns when all have ended.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// begin counts conn in, or closes it when the server is closed.
func (s *Server) begin(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) end(conn net.Conn) {
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	conn.Close()
	s.wg.Done()
}

// admit answers whoever may ask, and refuses the others: when they have asked,
// since a connection that is merely closed looks like that of an ended daemon.
func (s *Server) admit(conn *net.UnixConn) {
	defer s.end(conn)
	handle := s.handle
	if err := checkPeer(conn); err != nil {
		handle = func(*Exchange) Response { return Failed(err) }
	}
	s.converse(conn, handle)
}

func (s *Server) converse(conn net.Conn, handle Handler) {
	x := Exchange{conn: conn, in: bufio.NewReader(conn), closing: s.isClosed}
	for {
		line, err := readLine(x.in, maxRequest)
		if errors.Is(err, errTooLong) {
			x.write(Failed(fmt.Errorf("request: %w", err)), answerTimeout)
		}
		if err != nil {
			return
		}
		if !x.write(x.respond(line, handle), answerTimeout) || x.hungUp != nil {
			return
		}
	}
}

func (x *Exchange) respond(line []byte, handle Handler) (resp Response) {
	var err error
	if x.Request, err = parseRequest(line); err != nil {
		return Failed(fmt.Errorf("request is not understood: %w", err))
	}
	return handle(x)
}

// parseRequest refuses what it does not know, such as a word of a later
// release, instead of doing something else than was asked.
func parseRequest(line []byte) (Request, error) {
	var head struct{ Version int }
	if err := json.Unmarshal(line, &head); err != nil {
		return Request{}, err
	}
	if head.Version != Version {
		return Request{}, fmt.Errorf("it is of protocol version %d, and this daemon speaks version %d: use the weft that started it, or restart the daemon",
			head.Version, Version)
	}
	var req Request
	in := json.NewDecoder(bytes.NewReader(line))
	in.DisallowUnknownFields()
	return req, in.Decode(&req)
}

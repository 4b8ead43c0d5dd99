package underlay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
)

// poolSize is how many source ports flows are spread over: RFC 7348 §5 wants
// the port to carry the inner flow's entropy, and a socket has just one port.
// 64 flows meet about 40 of 64 ports.
const poolSize = 64

// Pool is a set of sockets to send from, one for each source port.
type Pool struct {
	sockets []*Socket
}

// OpenPool binds up to 64 sockets to ports in [low, high), fewer if the range
// is narrower. A port that is in use is passed over. When the port that
// datagrams are received on is in the range, listener sends for it.
func OpenPool(ipv6 bool, low, high uint16, listener *Socket) (*Pool, error) {
	width := int(high) - int(low)
	p := &Pool{}
	start := 0
	if width > poolSize {
		start = rand.IntN(width)
	}
	for i := 0; i < width && len(p.sockets) < poolSize; i++ {
		port := low + uint16((start+i)%width)
		socket, err := openSource(ipv6, port, listener)
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			continue
		}
		if err != nil {
			p.Close(listener)
			return nil, fmt.Errorf("source port %d: %w", port, err)
		}
		p.sockets = append(p.sockets, socket)
	}
	if len(p.sockets) == 0 {
		return nil, fmt.Errorf("no free source port from %d to %d: %w", low, high-1, syscall.EADDRINUSE)
	}
	return p, nil
}

// openSource opens a socket that only sends.
func openSource(ipv6 bool, port uint16, listener *Socket) (*Socket, error) {
	if port == listener.port {
		return listener, nil
	}
	s, err := open(ipv6, port)
	if err != nil {
		return nil, err
	}
	if err := s.onlySend(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Socket returns the socket for a flow. The same hash gives the same socket.
func (p *Pool) Socket(hash uint32) *Socket {
	return p.sockets[uint64(hash)*uint64(len(p.sockets))>>32]
}

// Size returns the number of source ports.
func (p *Pool) Size() int { return len(p.sockets) }

// Close closes all sockets but the listener.
func (p *Pool) Close(listener *Socket) {
	for _, s := range p.sockets {
		if s != listener {
			s.Close()
		}
	}
}

// PoolOf returns a pool of one socket, for flows that may have no other source
// port. It is not to be closed.
func PoolOf(s *Socket) *Pool { return &Pool{sockets: []*Socket{s}} }

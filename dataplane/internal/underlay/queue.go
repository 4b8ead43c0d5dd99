package underlay

import (
	"github.com/weftnet/weft/dataplane/internal/count"
	"github.com/weftnet/weft/encap"
)

// maxBytes of one message is the largest UDP payload over IPv4; IPv6 would
// take 20 bytes more.
const maxBytes = 65507

// Limits of what is queued between flushes.
const (
	maxMessages = 64
	maxPieces   = 2048
	slabSize    = 64 << 10
	maxPrefix   = encap.HeaderLen + encap.MaxInnerHeader
)

// Sender collects datagrams and sends them in as few system calls as it can:
// datagrams of equal size and Outer that follow each other on a socket become
// one message, the messages of a socket one sendmmsg. Datagrams of one socket
// leave in the order in which they were queued.
//
// What is queued is borrowed until Flush returns. Queueing may flush.
type Sender struct {
	Sends    count.Counter // system calls
	GSO      count.Counter // messages sent with UDP_SEGMENT
	NoGSO    bool          // set when the kernel turned out not to do UDP_SEGMENT
	OnNoGSO  func(error)   // called once when that happens, with the kernel's error
	messages []message
	pieces   []piece
	slab     []byte    // headers of segments; grows to slabSize, then Flush
	sockets  []*Socket // those with messages
	partLost bool      // the message before was lost: one that goes on with its super-frame is no further loss
	sys      syscalls
}

// message is one future sendmmsg entry.
type message struct {
	flow        Flow
	size        int // of each datagram but the last
	count       int // datagrams
	bytes       int
	frames      int // for the Account
	frameBytes  int
	first, last int32 // pieces
	next        int32 // message of the same socket, -1 if none
	full        bool  // nothing may follow: the last datagram is shorter
}

// piece is a part of a message's memory; next is -1 at the end.
type piece struct {
	data []byte
	next int32
}

// NewSender returns a Sender with all the memory that it will ever need.
func NewSender() *Sender {
	s := &Sender{
		messages: make([]message, 0, maxMessages),
		pieces:   make([]piece, 0, maxPieces),
		slab:     make([]byte, 0, slabSize),
		sockets:  make([]*Socket, 0, maxMessages),
	}
	s.sys.init()
	return s
}

// Datagram queues one datagram that carries a frame counted as frameBytes. If
// data has capacity beyond its length, what lies there is a later datagram's.
func (s *Sender) Datagram(f *Flow, data []byte, frameBytes int) {
	s.reserve(1, 0)
	m := s.messageFor(f, len(data))
	s.add(m, data)
	m.count++
	m.frames++
	m.frameBytes += frameBytes
}

// SuperFrame queues the segments of a super-frame, each behind a VXLAN header
// with vni. The whole counts as one frame of frameBytes.
func (s *Sender) SuperFrame(f *Flow, vni uint32, segments *encap.Segments, frameBytes int) {
	prefix := encap.HeaderLen + segments.HeaderLen()
	frames := 1
	for i := range segments.Count() {
		s.reserve(2, prefix)
		header := s.carve(prefix)
		encap.PutHeader(header, vni)
		payload := segments.Put(i, header[encap.HeaderLen:])
		m := s.messageFor(f, prefix+len(payload))
		s.add(m, header)
		s.add(m, payload)
		m.count++
		m.frames += frames
		m.frameBytes += frameBytes
		frames, frameBytes = 0, 0
	}
}

// reserve makes room for one message with some pieces and slab bytes.
func (s *Sender) reserve(pieces, slab int) {
	if len(s.messages) == maxMessages || len(s.pieces)+pieces > maxPieces || len(s.slab)+slab > slabSize {
		s.Flush()
	}
}

func (s *Sender) carve(n int) []byte {
	at := len(s.slab)
	s.slab = s.slab[:at+n]
	return s.slab[at : at+n : at+n]
}

// messageFor returns the message that a datagram of size bytes goes into: the
// newest of the flow's socket if it may still grow, or a new one.
func (s *Sender) messageFor(f *Flow, size int) *message {
	if last := f.Socket.lastMessage; last >= 0 {
		m := &s.messages[last]
		if s.fits(m, f, size) {
			m.full = size < m.size
			m.bytes += size
			return m
		}
	}
	at := int32(len(s.messages))
	s.messages = append(s.messages, message{flow: *f, size: size, bytes: size, first: -1, last: -1, next: -1})
	if last := f.Socket.lastMessage; last >= 0 {
		s.messages[last].next = at
	} else {
		f.Socket.firstMessage = at
		s.sockets = append(s.sockets, f.Socket)
	}
	f.Socket.lastMessage = at
	return &s.messages[at]
}

func (s *Sender) fits(m *message, f *Flow, size int) bool {
	return !m.full && size <= m.size && m.count < maxSegments && m.bytes+size <= maxBytes &&
		!s.NoGSO && !f.Single && !f.NoCsum && m.flow == *f
}

// add appends data to a message, to its last piece if it lies right behind.
func (s *Sender) add(m *message, data []byte) {
	if m.last >= 0 {
		if have := s.pieces[m.last].data; adjacent(have, data) {
			s.pieces[m.last].data = have[:len(have)+len(data)]
			return
		}
	}
	at := int32(len(s.pieces))
	s.pieces = append(s.pieces, piece{data: data, next: -1})
	if m.last >= 0 {
		s.pieces[m.last].next = at
	} else {
		m.first = at
	}
	m.last = at
}

// adjacent reports whether b starts where a ends, in the same buffer.
// Datagrams read from a device lie like that on purpose, uncapped, so that a
// run of them is one piece.
func adjacent(a, b []byte) bool {
	n := len(a)
	return len(b) > 0 && cap(a) >= n+len(b) && &a[: n+1 : n+1][n] == &b[0]
}

// Flush sends all that is queued. Afterwards the memory of the datagrams is
// their owner's again, whatever happened to them.
func (s *Sender) Flush() {
	for _, socket := range s.sockets {
		s.sendFrom(socket)
		socket.firstMessage, socket.lastMessage = -1, -1
	}
	clear(s.messages)
	clear(s.pieces)
	s.messages, s.pieces, s.slab, s.sockets = s.messages[:0], s.pieces[:0], s.slab[:0], s.sockets[:0]
}

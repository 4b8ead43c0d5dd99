package underlay

import "github.com/weftnet/weft/dataplane/internal/count"

// maxBytes of one message is the largest UDP payload over IPv4; IPv6 would
// take 20 bytes more.
const maxBytes = 65507

// Limits of what is queued between flushes.
const (
	maxMessages = 64
	maxParts    = 2048
	slabSize    = 64 << 10
)

// Sender collects datagrams and sends them in as few system calls as it can:
// datagrams of equal size and Outer that follow each other on a socket become
// one message, the messages of a socket one sendmmsg. Datagrams of one socket
// leave in the order in which they were queued.
//
// What is queued is borrowed until Flush returns. Queueing may flush.
type Sender struct {
	Sends   count.Counter // system calls
	GSO     count.Counter // messages sent with UDP_SEGMENT
	NoGSO   bool          // set when the kernel turned out not to do UDP_SEGMENT
	OnNoGSO func(error)   // called once when that happens, with the kernel's error

	Injected     count.Counter // super-frames sent whole, see Inject
	OnNoInjector func(error)   // called once when the kernel refuses them, with an *InjectError
	inject       injection

	messages []message
	pieces   []piece
	parts    int       // that the pieces are made of
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

// NewSender returns a Sender with all the memory that it will ever need.
func NewSender() *Sender {
	s := &Sender{
		messages: make([]message, 0, maxMessages),
		pieces:   make([]piece, 0, maxParts),
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
	m.grow(1, len(data), len(data))
	m.frames++
	m.frameBytes += frameBytes
	if m.last >= 0 {
		last := &s.pieces[m.last]
		if last.segments == 0 && adjacent(last.data, data) {
			last.data = last.data[:len(last.data)+len(data)]
			return
		}
	}
	p := s.add(m, 1)
	p.data, p.segments = data, 0
}

// reserve makes room for one message with some parts and slab bytes.
func (s *Sender) reserve(parts, slab int) {
	if len(s.messages) == maxMessages || s.parts+parts > maxParts || len(s.slab)+slab > slabSize {
		s.Flush()
	}
}

// messageFor returns the message that a datagram of size bytes goes into: the
// newest of the flow's socket if it may still grow, or a new one.
func (s *Sender) messageFor(f *Flow, size int) *message {
	if last := f.Socket.lastMessage; last >= 0 {
		if m := &s.messages[last]; s.fits(m, f, size) {
			return m
		}
	}
	at := int32(len(s.messages))
	s.messages = append(s.messages, message{flow: *f, size: size, first: -1, last: -1, next: -1})
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
		s.segmented(f) && m.flow == *f
}

// segmented reports whether a flow's messages can have several datagrams.
func (s *Sender) segmented(f *Flow) bool { return !s.NoGSO && !f.Single && !f.NoCsum }

// grow notes n more datagrams of some bytes, of which the last one has its own
// size.
func (m *message) grow(n, last, bytes int) {
	m.count += n
	m.bytes += bytes
	m.full = last < m.size
}

// Flush sends all that is queued. Afterwards the memory of the datagrams is
// their owner's again, whatever happened to them.
func (s *Sender) Flush() {
	for _, socket := range s.sockets {
		s.sendFrom(socket)
		socket.firstMessage, socket.lastMessage = -1, -1
	}
	clear(s.messages)
	s.messages, s.pieces, s.parts, s.slab, s.sockets = s.messages[:0], s.pieces[:0], 0, s.slab[:0], s.sockets[:0]
}

package underlay

// piece is memory of a message: one stretch of it, or that of segments, whose
// headers and payload take turns. next is -1 at the end.
type piece struct {
	data         []byte // the stretch, or all payload
	segments     int32  // 0 for a stretch
	headers      int32  // where in the slab those of the first segment are
	prefix, size int32  // bytes of headers and payload of each, but the last one's payload can be shorter
	next         int32
}

// parts returns how many stretches the piece consists of.
func (p *piece) parts() int {
	switch {
	case p.segments == 0:
		return 1
	case len(p.data) == 0:
		return int(p.segments) // one, without payload
	}
	return 2 * int(p.segments)
}

// part returns one of them.
func (s *Sender) part(p *piece, i int) []byte {
	if p.segments == 0 {
		return p.data
	}
	if i%2 == 0 {
		at := int(p.headers) + i/2*int(p.prefix)
		return s.slab[at : at+int(p.prefix)]
	}
	at := i / 2 * int(p.size)
	return p.data[at:min(at+int(p.size), len(p.data))]
}

// add appends a piece of some parts to a message.
func (s *Sender) add(m *message, parts int) *piece {
	at := len(s.pieces)
	s.pieces = s.pieces[:at+1]
	s.parts += parts
	if m.last >= 0 {
		s.pieces[m.last].next = int32(at)
	} else {
		m.first = int32(at)
	}
	m.last = int32(at)
	p := &s.pieces[at]
	p.next = -1
	return p
}

// adjacent reports whether b starts where a ends, in the same buffer.
// Datagrams read from a device lie like that on purpose, uncapped, so that a
// run of them is one piece.
func adjacent(a, b []byte) bool {
	n := len(a)
	return len(b) > 0 && cap(a) >= n+len(b) && &a[: n+1 : n+1][n] == &b[0]
}

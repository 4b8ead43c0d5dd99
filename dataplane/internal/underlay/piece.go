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

// layOut adds the stretches that the piece consists of to the system call's.
func (s *Sender) layOut(p *piece) {
	if p.segments == 0 {
		s.sys.add(p.data)
		return
	}
	headers, payload, prefix := s.slab[p.headers:], p.data, int(p.prefix)
	for range p.segments {
		s.sys.add(headers[:prefix])
		headers = headers[prefix:]
		if n := min(int(p.size), len(payload)); n > 0 {
			s.sys.add(payload[:n])
			payload = payload[n:]
		}
	}
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

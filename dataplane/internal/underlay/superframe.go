package underlay

import "github.com/weftnet/weft/encap"

// SuperFrame queues the segments of a super-frame, each behind a VXLAN header
// with vni unless the flow is bare. The whole counts as one frame of frameBytes.
func (s *Sender) SuperFrame(f *Flow, vni uint32, segments *encap.Segments, frameBytes int) {
	frames := 1
	for i := 0; i < segments.Count(); {
		m, n := s.roomFor(f, segments, i)
		s.put(m, vni, segments, i, n)
		m.frames += frames
		m.frameBytes += frameBytes
		frames, frameBytes = 0, 0
		i += n
	}
}

// roomFor returns the message that segment i goes into, and how many from there
// on do, at least that one.
func (s *Sender) roomFor(f *Flow, segments *encap.Segments, i int) (m *message, n int) {
	prefix := f.header() + segments.HeaderLen()
	size := prefix + len(segments.Payload(i, 1))
	s.reserve(2, prefix)
	m = s.messageFor(f, size)
	if size < m.size || !s.segmented(f) {
		return m, 1
	}
	n = min(segments.Count()-i, maxSegments-m.count, (maxParts-s.parts)/2, (slabSize-len(s.slab))/prefix)
	if room := maxBytes - m.bytes; n*prefix+len(segments.Payload(i, n)) > room {
		n = max(1, room/size) // alone it is the kernel's to refuse
	}
	return m, n
}

// put appends n segments from i on to a message.
func (s *Sender) put(m *message, vni uint32, segments *encap.Segments, i, n int) {
	vxlan := m.flow.header()
	prefix, at := vxlan+segments.HeaderLen(), len(s.slab)
	s.slab = s.slab[:at+n*prefix]
	headers := s.slab[at:]
	var payload []byte // of the last
	for k := range n {
		header := headers[k*prefix : (k+1)*prefix]
		if vxlan > 0 {
			encap.PutHeader(header, vni)
		}
		payload = segments.Put(i+k, header[vxlan:])
	}
	all := segments.Payload(i, n)
	m.grow(n, prefix+len(payload), len(headers)+len(all))
	p := s.add(m, 2*n)
	p.data, p.segments, p.headers = all, int32(n), int32(at)
	p.prefix, p.size = int32(prefix), int32(m.size-prefix)
}

// header is how many bytes of VXLAN header the flow's datagrams have.
func (f *Flow) header() int {
	if f.Bare {
		return 0
	}
	return encap.HeaderLen
}

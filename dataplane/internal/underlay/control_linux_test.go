//go:build !portable

package underlay

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestControl asks for all that control messages can ask for, one by one and
// together, and reads them back as x/sys does.
func TestControl(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		local := netip.MustParseAddr("192.0.2.9")
		if ipv6 {
			local = netip.MustParseAddr("2001:db8::9")
		}
		for name, c := range map[string]struct {
			o       Outer
			segment bool
			control int // bytes
		}{
			"nothing":  {Outer{}, false, 0},
			"segment":  {Outer{}, true, 24},
			"TOS":      {Outer{TOS: 0xb9}, false, 24},
			"TTL":      {Outer{TTL: 255}, false, 24},
			"source":   {Outer{Local: local}, false, infoSpace(ipv6)},
			"device":   {Outer{IfIndex: 7}, false, infoSpace(ipv6)},
			"all":      {Outer{TOS: 0xff, TTL: 1, Local: local, IfIndex: 1 << 30}, true, 72 + infoSpace(ipv6)},
			"no label": {Outer{FlowLabel: 0xabcde, DF: true}, false, 0}, // not by control message
		} {
			checkControl(t, name, c.o, c.segment, c.control, ipv6)
		}
	})
}

func infoSpace(ipv6 bool) int {
	if ipv6 {
		return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
	}
	return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
}

func checkControl(t *testing.T, name string, o Outer, segment bool, size int, ipv6 bool) {
	t.Helper()
	s, k := script(t)
	socket := fakeSocket(3)
	socket.ipv6, socket.df = ipv6, o.DF
	flow := flowTo(socket, &ledger{}, 4789)
	o.Remote = flow.Remote
	flow.Outer = o
	queue(s, flow, filled(100, 1))
	want := entry{tos: -1, ttl: -1, ifIndex: o.IfIndex, source: o.Local}
	if segment {
		queue(s, flow, filled(100, 1))
		want.segment = 100
	}
	s.Flush()
	if o.TOS != 0 {
		want.tos = int(o.TOS)
	}
	if o.TTL != 0 {
		want.ttl = int(o.TTL)
	}
	got := k.entries()[0]
	if !o.Local.IsValid() && got.source.IsValid() && got.source.IsUnspecified() {
		got.source = netip.Addr{} // a device alone leaves the address open
	}
	if got.tos != want.tos || got.ttl != want.ttl || got.segment != want.segment || got.ifIndex != want.ifIndex || got.source != want.source || got.to != o.Remote {
		t.Errorf("%s: %+v, want %+v", name, got, want)
	}
	if unsafe.Sizeof(uintptr(0)) == 8 && got.control != size {
		t.Errorf("%s: %d bytes of control messages, want %d", name, got.control, size)
	}
}

// TestNames checks what only IPv6 destinations have.
func TestNames(t *testing.T) {
	s, k := script(t)
	socket := fakeSocket(3)
	socket.ipv6 = true
	flow := flowTo(socket, &ledger{}, 4789)
	queue(s, flow, filled(9, 1))
	flow.FlowLabel, flow.IfIndex = 0xabcde, 5
	queue(s, flow, filled(9, 1))
	flow.FlowLabel = 0
	flow.Remote = netip.MustParseAddrPort("[fe80::1]:8472")
	queue(s, flow, filled(9, 1))
	s.Flush()
	for i, want := range []struct{ flowinfo, scope uint32 }{{0, 0}, {0xabcde, 0}, {0, 5}} {
		if e := k.entries()[i]; e.flowinfo != want.flowinfo || e.scope != want.scope {
			t.Errorf("datagram %d: flow information %#x, scope %d; want %+v", i, e.flowinfo, e.scope, want)
		}
	}
}

// TestNamesAreWrittenAnew: the memory of an IPv6 name serves IPv4 as well, and
// nothing of the one shows in the other.
func TestNamesAreWrittenAnew(t *testing.T) {
	s, k := script(t)
	four, six := fakeSocket(3), fakeSocket(4)
	six.ipv6 = true
	labelled := flowTo(six, &ledger{}, 1)
	labelled.FlowLabel = 0xfffff
	plain := flowTo(six, &ledger{}, 2)
	local := flowTo(six, &ledger{}, 5)
	local.Remote, local.IfIndex = netip.MustParseAddrPort("[fe80::1]:5"), 7
	for _, f := range []*Flow{labelled, flowTo(four, &ledger{}, 3), plain, local, plain, flowTo(four, &ledger{}, 4)} {
		want := queue(s, f, filled(9, 1))
		k.calls, k.wire = nil, nil
		s.Flush()
		wantWire(t, k, want)
		if e := k.entries()[0]; e.flowinfo != f.FlowLabel || int(e.scope) != f.IfIndex {
			t.Errorf("flow information %#x, scope %d; want %#x, %d", e.flowinfo, e.scope, f.FlowLabel, f.IfIndex)
		}
	}
}

// message appends a control message as the kernel writes it.
func appendMessage(b []byte, level, kind int32, data []byte) []byte {
	m := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&m[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(data)))
	copy(m[unix.CmsgLen(0):], data)
	return append(b, m...)
}

func native32(v int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

// TestReadControl: each message is found behind any other.
func TestReadControl(t *testing.T) {
	gro := func(b []byte) []byte { return appendMessage(b, unix.SOL_UDP, unix.UDP_GRO, native32(1458)) }
	tos4 := func(b []byte) []byte { return appendMessage(b, unix.IPPROTO_IP, unix.IP_TOS, []byte{0xb9}) }
	tos6 := func(b []byte) []byte {
		return appendMessage(b, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, native32(0xb9))
	}
	other := func(b []byte) []byte {
		return appendMessage(b, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, make([]byte, 16))
	}
	odd := func(b []byte) []byte { return appendMessage(b, 99, 99, []byte{1, 2, 3}) }
	for name, c := range map[string]struct {
		b    []byte
		want Datagram
	}{
		"nothing":          {nil, Datagram{}},
		"UDP_GRO":          {gro(nil), Datagram{Segment: 1458}},
		"TOS":              {tos4(nil), Datagram{TOS: 0xb9}},
		"traffic class":    {tos6(nil), Datagram{TOS: 0xb9}},
		"both":             {gro(tos4(nil)), Datagram{Segment: 1458, TOS: 0xb9}},
		"the other way":    {tos6(gro(nil)), Datagram{Segment: 1458, TOS: 0xb9}},
		"behind others":    {tos4(odd(gro(other(odd(nil))))), Datagram{Segment: 1458, TOS: 0xb9}},
		"only others":      {other(odd(nil)), Datagram{}},
		"empty TOS":        {appendMessage(nil, unix.IPPROTO_IP, unix.IP_TOS, nil), Datagram{}},
		"UDP_GRO cut off":  {appendMessage(nil, unix.SOL_UDP, unix.UDP_GRO, []byte{1, 2}), Datagram{}},
		"header cut off":   {gro(nil)[:unix.SizeofCmsghdr-1], Datagram{}},
		"data cut off":     {gro(nil)[:unix.CmsgLen(2)], Datagram{}},
		"without padding":  {gro(nil)[:unix.CmsgLen(4)], Datagram{Segment: 1458}},
		"length of 0":      {make([]byte, 64), Datagram{}},
		"first one broken": {append(make([]byte, 24), gro(nil)...), Datagram{}},
	} {
		var got Datagram
		if readControl(c.b, &got); got.Segment != c.want.Segment || got.TOS != c.want.TOS {
			t.Errorf("%s: segment %d, TOS %#x; want %+v", name, got.Segment, got.TOS, c.want)
		}
	}
}

// TestReadControlGarbage: whatever the bytes, it ends and stays inside.
func TestReadControlGarbage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 20000 {
		b := make([]byte, random.IntN(129))
		for i := range b {
			if random.IntN(3) == 0 {
				b[i] = byte(random.Uint32())
			}
		}
		if len(b) > 0 {
			b[0] = byte(random.UintN(140)) // a length that may do
		}
		readControl(b, &Datagram{})
	}
}

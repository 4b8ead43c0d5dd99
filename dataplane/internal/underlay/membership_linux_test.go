//go:build !portable

package underlay

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// groupOf is a multicast group that nobody is a member of by himself.
func groupOf(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.MustParseAddr("ff05::4789")
	}
	return netip.MustParseAddr("239.1.1.1")
}

// addrOfA is the address of a lab.Pair's first host.
func addrOfA(ipv6 bool) netip.Addr {
	if ipv6 {
		return lab.PairA6.Addr()
	}
	return lab.PairA4.Addr()
}

// membershipIn opens a Membership in a host, until the end of the test.
func membershipIn(t *testing.T, h *lab.Host, group netip.Addr, dev string) (m *Membership) {
	t.Helper()
	index := indexOf(t, h, dev)
	check(t, h.Do(func() (err error) { m, err = OpenMembership(group, index); return err }))
	t.Cleanup(func() { _ = m.Close() }) // the second Close of some fails
	return m
}

// report says what a frame tells multicast routers about a group: "join",
// "leave", or nothing. It knows IGMPv3 (RFC 3376 §4.2.12) and MLDv2 (RFC 3810
// §5.2.12).
func report(f lab.Frame, group netip.Addr) string {
	const toInclude, toExclude = 3, 4 // with no sources: leave, join
	words := map[uint8]string{toInclude: "leave", toExclude: "join"}
	p := dissect.Packet(f)
	if igmp, ok := p.Layer(layers.LayerTypeIGMP).(*layers.IGMP); ok && p.NetworkLayer().NetworkFlow().Dst().String() == "224.0.0.22" {
		for _, r := range igmp.GroupRecords {
			if r.MulticastAddress.Equal(group.AsSlice()) && len(r.SourceAddresses) == 0 {
				return words[uint8(r.Type)]
			}
		}
	}
	if mld, ok := p.Layer(layers.LayerTypeMLDv2MulticastListenerReport).(*layers.MLDv2MulticastListenerReportMessage); ok &&
		p.NetworkLayer().NetworkFlow().Dst().String() == "ff02::16" {
		for _, r := range mld.MulticastAddressRecords {
			if r.MulticastAddress.Equal(group.AsSlice()) && len(r.SourceAddresses) == 0 {
				return words[uint8(r.RecordType)]
			}
		}
	}
	return ""
}

// TestMembershipIsReported: the first link to join a group and the last to
// leave it are seen on the wire, and no other.
func TestMembershipIsReported(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a, b := lab.TestPair(t)
		group := groupOf(ipv6)
		wire := lab.TestCapture(t, b, "eth0")
		said := func(what string) func(lab.Frame) bool {
			return func(f lab.Frame) bool { return report(f, group) == what }
		}
		first, second := membershipIn(t, a, group, "eth0"), membershipIn(t, a, group, "eth0")
		check(t, first.Leave()) // never joined: nothing happens
		check(t, errors.Join(first.Join(), first.Join()))
		if _, err := wire.Wait(5*time.Second, said("join")); err != nil {
			t.Fatal("join: ", err)
		}
		check(t, errors.Join(second.Join(), first.Leave(), first.Leave()))
		for _, f := range wire.Frames() {
			if said("leave")(f) {
				t.Error("the group is left while there is a member")
			}
		}
		check(t, second.Leave())
		if _, err := wire.Wait(5*time.Second, said("leave")); err != nil {
			t.Error("leave: ", err)
		}
	})
}

// TestMembershipEndsWithItsSocket: closing leaves.
func TestMembershipEndsWithItsSocket(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a, b := lab.TestPair(t)
		m := membershipIn(t, a, groupOf(ipv6), "eth0")
		check(t, m.Join())
		wire := lab.TestCapture(t, b, "eth0")
		check(t, m.Close())
		_, err := wire.Wait(5*time.Second, func(f lab.Frame) bool { return report(f, groupOf(ipv6)) == "leave" })
		check(t, err)
	})
}

// heard sends a datagram to the group and one to the host itself behind it, and
// reports whether the receiver got the first.
func heard(t *testing.T, s *Sender, group, host *Flow, r *Receiver) bool {
	t.Helper()
	queue(s, group, []byte("to the group"))
	s.Flush()
	queue(s, host, []byte("to the host"))
	s.Flush()
	var got []string
	check(t, lab.Eventually(5*time.Second, func() error {
		batch, err := r.Receive()
		for _, d := range batch {
			got = append(got, string(d.Data))
		}
		if len(got) == 0 || got[len(got)-1] != "to the host" {
			return errors.Join(errors.New("nothing came"), err)
		}
		return nil
	}))
	if len(got) > 2 || len(got) == 2 && got[0] != "to the group" {
		t.Errorf("received %q", got)
	}
	return len(got) == 2
}

// TestMembershipLetsIn: a receiving socket that knows nothing of groups hears
// what is sent to one while there is a Membership on the device, and nothing
// before and after.
func TestMembershipLetsIn(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a, b := lab.TestPair(t)
		check(t, lab.Connect(lab.Port{Host: a, Dev: "eth1"}, lab.Port{Host: b, Dev: "eth1"}))
		socket, r := socketsIn(t, b, a, ipv6)
		s, group, host := NewSender(), flowTo(socket, &ledger{}, 0), flowTo(socket, &ledger{}, 0)
		addr := addrOfA(ipv6)
		group.Remote, group.IfIndex = netip.AddrPortFrom(groupOf(ipv6), r.port), indexOf(t, b, "eth0")
		host.Remote = netip.AddrPortFrom(addr, r.port)
		first, second := membershipIn(t, a, groupOf(ipv6), "eth0"), membershipIn(t, a, groupOf(ipv6), "eth0")
		elsewhere := membershipIn(t, a, groupOf(ipv6), "eth1")
		for i, step := range []struct {
			do   func() error
			want bool
		}{
			{func() error { return nil }, false},
			{elsewhere.Join, false},
			{first.Join, true},
			{second.Join, true},
			{first.Leave, true},
			{elsewhere.Leave, true},
			{second.Leave, false},
			{second.Join, true},
			{second.Close, false},
		} {
			check(t, step.do())
			if got := heard(t, s, group, host, r); got != step.want {
				t.Errorf("step %d: heard %v, want %v", i, got, step.want)
			}
		}
	})
}

// TestMembershipTakesNothing: what is sent to the port of the socket that
// carries a membership is dropped, whether to the host or to the group.
func TestMembershipTakesNothing(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a, b := lab.TestPair(t)
		m := membershipIn(t, a, groupOf(ipv6), "eth0")
		check(t, m.Join())
		port := netip.MustParseAddrPort(m.conn.LocalAddr().String()).Port()
		socket, r := socketsIn(t, b, a, ipv6)
		s, flow := NewSender(), flowTo(socket, &ledger{}, 0)
		addr := addrOfA(ipv6)
		flow.IfIndex = indexOf(t, b, "eth0")
		for _, to := range []netip.AddrPort{
			netip.AddrPortFrom(addr, port), netip.AddrPortFrom(groupOf(ipv6), port), netip.AddrPortFrom(addr, r.port),
		} {
			flow.Remote = to
			queue(s, flow, filled(100, 1))
			s.Flush()
		}
		receiveAll(t, r, 1) // so those before it have arrived too
		check(t, m.conn.SetReadDeadline(time.Now()))
		raw, err := m.conn.SyscallConn()
		check(t, err)
		check(t, raw.Control(func(fd uintptr) {
			if n, _, err := unix.Recvfrom(int(fd), make([]byte, 200), unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("%d bytes have come, %v", n, err)
			}
		}))
	})
}

// TestMembershipsWithoutEnd: there may be more of them than one socket can
// have.
func TestMembershipsWithoutEnd(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a := lab.TestHost(t, "a")
		group := groupOf(ipv6)
		for range 50 {
			group = group.Next()
			check(t, membershipIn(t, a, group, "lo").Join())
		}
	})
}

// TestMembershipOfNothing: errors say what was wanted.
func TestMembershipOfNothing(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		for _, c := range []struct {
			group   netip.Addr
			ifIndex int
			says    string
		}{{home(ipv6), 1, home(ipv6).String()}, {netip.Addr{}, 1, "multicast"}, {groupOf(ipv6), 0, "no device"}} {
			if m, err := OpenMembership(c.group, c.ifIndex); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("group %v, device %d: %v, %v", c.group, c.ifIndex, m, err)
			}
		}
		m, err := OpenMembership(groupOf(ipv6), 99999)
		check(t, err)
		err = m.Join()
		if !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), groupOf(ipv6).String()) || !strings.Contains(err.Error(), "99999") {
			t.Errorf("no such device: %v", err)
		}
		check(t, errors.Join(m.Leave(), m.Close()))
		if err := m.Join(); err == nil {
			t.Error("joined by a socket that is closed")
		}
	})
}

// TestMembershipOutlivesDevice: a device that is deleted takes its members
// along, and leaving it is no error. One that comes back is another.
func TestMembershipOutlivesDevice(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a, b := lab.TestPair(t)
		m := membershipIn(t, a, groupOf(ipv6), "eth0")
		check(t, m.Join())
		check(t, b.Delete("eth0"))
		check(t, lab.Eventually(5*time.Second, func() error {
			if _, err := a.Device("eth0"); err == nil {
				return errors.New("eth0 is still there")
			}
			return nil
		}))
		check(t, m.Leave())
		if err := m.Join(); !errors.Is(err, unix.ENODEV) {
			t.Errorf("joining on it: %v", err)
		}
	})
}

// TestToGroup: what is sent to a group leaves by the device that was asked for,
// with no route to the group nor a default one, has TTL 1 unless another is
// asked for, and is not heard here.
func TestToGroup(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a, b := lab.TestPair(t)
		check(t, lab.Connect(lab.Port{Host: a, Dev: "eth1"}, lab.Port{Host: b, Dev: "eth1"}))
		socket, r := socketsIn(t, a, a, ipv6)
		for _, dev := range []string{"eth0", "eth1"} {
			check(t, membershipIn(t, a, groupOf(ipv6), dev).Join())
		}
		own := addrOfA(ipv6)
		wires := map[string]*lab.Capture{"eth0": lab.TestCapture(t, b, "eth0"), "eth1": lab.TestCapture(t, b, "eth1")}
		s, book, flow := NewSender(), &ledger{}, flowTo(socket, nil, 0)
		flow.Account = book
		for dev, wire := range wires {
			for i, o := range []Outer{{}, {TTL: 7}, {TTL: 255, TOS: 0xb9}, {Local: own}} {
				mark := byte(i) + 1
				o.Remote, o.IfIndex = netip.AddrPortFrom(groupOf(ipv6), r.port), indexOf(t, a, dev)
				flow.Outer = o
				queue(s, flow, filled(100, mark))
				s.Flush()
				f, err := wire.Wait(5*time.Second, carriesMark(100, mark))
				check(t, err)
				checkToGroup(t, fmt.Sprintf("%s, %+v", dev, o), f, o)
			}
		}
		wantLedger(t, book, 8, 800, 0)
		for dev, wire := range wires {
			if n := matching(wire.Stop(), carriesMark(100, 0)); n != 4 {
				t.Errorf("%s: %d datagrams, want 4", dev, n)
			}
		}
		if batch, err := r.Receive(); len(batch) > 0 || err != nil {
			t.Errorf("%d datagrams are heard by their sender's host, %v", len(batch), err)
		}
	})
}

// carriesMark matches UDP datagrams of n bytes that filled made; mark 0 stands
// for any.
func carriesMark(n int, mark byte) func(lab.Frame) bool {
	return func(f lab.Frame) bool {
		udp, ok := dissect.Packet(f).TransportLayer().(*layers.UDP)
		return ok && len(udp.Payload) == n && (mark == 0 || udp.Payload[0] == mark)
	}
}

func matching(frames []lab.Frame, is func(lab.Frame) bool) (n int) {
	for _, f := range frames {
		if is(f) {
			n++
		}
	}
	return n
}

// checkToGroup wants a frame to be addressed to the group on all layers.
func checkToGroup(t *testing.T, name string, f lab.Frame, want Outer) {
	t.Helper()
	p := dissect.Packet(f)
	group, wantMAC := want.Remote.Addr(), "01:00:5e:01:01:01"
	if group.Is6() {
		wantMAC = "33:33:00:00:47:89"
	}
	if mac := p.LinkLayer().(*layers.Ethernet).DstMAC.String(); mac != wantMAC {
		t.Errorf("%s: to %s, want %s", name, mac, wantMAC)
	}
	wantTTL := max(want.TTL, 1)
	var src []byte
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		src = ip.SrcIP
		if !ip.DstIP.Equal(group.AsSlice()) || ip.TTL != wantTTL || ip.TOS != want.TOS || ip.Flags != 0 {
			t.Errorf("%s: to %v, TTL %d, TOS %#x, flags %v", name, ip.DstIP, ip.TTL, ip.TOS, ip.Flags)
		}
	case *layers.IPv6:
		src = ip.SrcIP
		if !ip.DstIP.Equal(group.AsSlice()) || ip.HopLimit != wantTTL || ip.TrafficClass != want.TOS {
			t.Errorf("%s: to %v, hop limit %d, TOS %#x", name, ip.DstIP, ip.HopLimit, ip.TrafficClass)
		}
	}
	if from, _ := netip.AddrFromSlice(src); want.Local.IsValid() && from != want.Local {
		t.Errorf("%s: from %v", name, from)
	}
}

// TestToLinkLocalGroup: the device says which link is meant.
func TestToLinkLocalGroup(t *testing.T) {
	for _, c := range []string{"224.0.0.200", "ff02::4789"} {
		t.Run(c, func(t *testing.T) {
			needHosts(t)
			group := netip.MustParseAddr(c)
			a, b := lab.TestPair(t)
			socket, r := socketsIn(t, a, b, group.Is6())
			check(t, membershipIn(t, b, group, "eth0").Join())
			s, flow := NewSender(), flowTo(socket, &ledger{}, 0)
			flow.Remote, flow.IfIndex = netip.AddrPortFrom(group, r.port), indexOf(t, a, "eth0")
			queue(s, flow, filled(100, 1))
			s.Flush()
			receiveAll(t, r, 1)
		})
	}
}

// TestRunsToGroup: UDP_SEGMENT works to groups as it does to hosts, and
// UDP_GRO from them, whether the device cuts or the kernel before it.
func TestRunsToGroup(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		for _, offloads := range []bool{true, false} {
			for _, gro := range []bool{true, false} {
				t.Run(fmt.Sprintf("offloads %v, GRO %v", offloads, gro), func(t *testing.T) { runToGroup(t, ipv6, offloads, gro) })
			}
		}
	})
}

func runToGroup(t *testing.T, ipv6, offloads, gro bool) {
	needHosts(t)
	a, b := lab.TestPair(t)
	if !offloads {
		check(t, errors.Join(a.SetOffloads("eth0", lab.OffloadsOff()), b.SetOffloads("eth0", lab.OffloadsOff())))
	}
	socket, r := socketsIn(t, a, b, ipv6)
	check(t, r.SetGRO(gro))
	check(t, membershipIn(t, b, groupOf(ipv6), "eth0").Join())
	s, book := NewSender(), &ledger{}
	flow := flowTo(socket, book, r.port)
	flow.Remote, flow.IfIndex = netip.AddrPortFrom(groupOf(ipv6), r.port), indexOf(t, a, "eth0")
	var whole strings.Builder
	for i := range byte(20) {
		d := filled(1000, i)
		queue(s, flow, d)
		whole.Write(d)
	}
	s.Flush()
	if s.Sends.Load() != 1 || s.GSO.Load() != 1 || s.NoGSO {
		t.Errorf("%d calls, %d messages with UDP_SEGMENT, switched off %v", s.Sends.Load(), s.GSO.Load(), s.NoGSO)
	}
	wantLedger(t, book, 20, 20000, 0)
	want := 20
	if gro && offloads {
		want = 1
	}
	var got strings.Builder
	for _, m := range receiveAll(t, r, want) {
		got.WriteString(m.data)
	}
	if got.String() != whole.String() {
		t.Errorf("%d bytes arrive, or others than were sent; want %d", got.Len(), whole.Len())
	}
}

package conformance

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// Neighbours that mean harm. interop.TestHostileDatagrams has more sorts of
// them, and fewer.

// TestMillionMalformed sends a million datagrams of every bad sort: the same
// process is there afterwards and no larger, each datagram was delivered or
// counts for one reason, and the link works. What bounds its memory is
// maxaddress: junk has sources to be learnt too.
func TestMillionMalformed(t *testing.T) {
	t.Parallel()
	for _, u := range []underlay{underlay4, underlay6} {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			lab.NeedTUN(t)
			const most = 1000
			a := newAlone(t, user, u.sw.Addr().Is6(), func(s *spec) { s.MaxAddress, s.Remote = most, peerAddr(s.Local) })
			n, j, sent := million()/2, newJunk(t, 1), 0 // a half over either family
			next := func(conn *net.UDPConn, buf []byte) []byte {
				if sent++; sent%1000 == 0 {
					setTOS(t, conn, a.v6, j.IntN(256))
				}
				return j.next(buf)
			}
			before, pid := a.account(t), daemonOf(t, a.Host)
			a.flood(t, n/10, next) // buffers and tables are in use then
			a.accounted(t, before, n/10)
			grown := resident(t, pid)
			a.flood(t, n-n/10, next)
			now := a.accounted(t, before, n)
			after := resident(t, pid)
			t.Logf("%d datagrams: %d delivered, dropped %v; resident %s before the last nine tenths, %s after", n, now.delivered, now.drops, text(grown), text(after))
			for _, reason := range []string{"short_header", "no_vni_flag", "unknown_vni", "reserved_bits", "short_frame", "invalid_source", "bad_length", "ecn"} {
				if now.drops[reason] == 0 {
					t.Errorf("nothing was dropped for %s", reason)
				}
			}
			if after > grown+8*mib {
				t.Errorf("the daemon grew from %s to %s", text(grown), text(after))
			}
			if is := daemonOf(t, a.Host); is != pid {
				t.Errorf("daemon %d is now %d", pid, is)
			}
			if n := len(a.table(t)); n > most {
				t.Errorf("%d entries, want no more than %d", n, most)
			}
			a.wantCarries(t)
		})
	}
}

// wantCarries wants the link to carry a frame either way.
func (a *alone) wantCarries(t *testing.T) {
	t.Helper()
	arrived := newTally(t, a.Host, a.dev)
	frame := ether(broadcast, mac("02:00:00:00:0e:01"), typeLocal, make([]byte, 46))
	a.deliver(t, peerAddr(a.local).String(), frame)
	arrived.await(t, 1, func(f lab.Frame) bool { return slices.Equal(f.Data, frame) })
	a.sent(t, 1, ether(broadcast, macOf(t, a.Host, a.dev), typeLocal, make([]byte, 46)))
}

// TestMACFlood has a million stations be heard. With maxaddress the table holds
// as many as that says, without it all. It forwards all the same; a flush gives
// the memory back.
func TestMACFlood(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{10_000, 0} {
		t.Run(fmt.Sprintf("maxaddress %d", limit), func(t *testing.T) {
			t.Parallel()
			lab.NeedTUN(t)
			a := newAlone(t, user, false, func(s *spec) { s.MaxAddress, s.Remote = uint32(limit), peerAddr(s.Local) })
			check(t, a.peer.SetOffloads("eth0", lab.OffloadsOn()))
			pid, n := daemonOf(t, a.Host), million()
			want := n + 1 // with the default entry
			if limit > 0 {
				want = min(limit, want)
			}
			start := resident(t, pid)
			a.hearStations(t, 0, n)
			full := resident(t, pid)
			t.Logf("%d stations, %d entries: resident %s before, %s after", n, want, text(start), text(full))
			if most := start + 24*mib + want*180; full > most { // the contract's 200 MB for a million
				t.Errorf("the daemon grew from %s to %s, with %d entries no more than %s is wanted", text(start), text(full), want, text(most))
			}
			a.wantEntries(t, want)
			a.wantKnown(t, 0)
			a.wantCarries(t)

			a.fdb(t, "flush", "dynamic")
			a.wantEntries(t, 1)
			check(t, lab.Eventually(waitLimit, func() error {
				if now := resident(t, pid); now > start+24*mib {
					return fmt.Errorf("the daemon grew from %s to %s, and has %s after a flush", text(start), text(full), text(now))
				}
				return nil
			}))
			t.Logf("after a flush: resident %s", text(resident(t, pid)))
			a.hearStations(t, n, n/5)
			a.wantKnown(t, n)
		})
	}
}

// station is the MAC address of number i.
func station(i int) net.HardwareAddr {
	m := net.HardwareAddr{0x06, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(m[2:], uint32(i))
	return m
}

// hearStations sends a frame of each of n stations, many in one message
// (UDP_SEGMENT), and waits until the link has taken them all.
func (a *alone) hearStations(t *testing.T, first, n int) {
	t.Helper()
	before, sent := a.account(t), 0
	one := vxlan(aloneVNI, ether(broadcast, station(0), typeLocal, make([]byte, 46)))
	const run = 50
	many, control := slices.Repeat(one, run), segments(len(one))
	a.floodBy(t, n/run, func(conn *net.UDPConn, to netip.AddrPort) {
		for i := range run {
			copy(many[i*len(one)+8+6:], station(first+sent))
			sent++
		}
		_, _, err := conn.WriteMsgUDPAddrPort(many, control, to)
		check(t, err)
	})
	a.accounted(t, before, n)
}

// segments asks for the datagrams of one message to be so long (UDP_SEGMENT).
func segments(size int) []byte {
	control := make([]byte, unix.CmsgSpace(2))
	header := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	header.Level, header.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	header.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(size))
	return control
}

// wantEntries counts those of the table.
func (a *alone) wantEntries(t *testing.T, want int) {
	t.Helper()
	if got := strings.Count(must(a.weft.Must("fdb", "show", "dev", a.dev))(t), "\n"); got != want {
		t.Errorf("%d entries, want %d", got, want)
	}
}

// wantKnown wants what is for a station to go to its VTEP alone: the link's
// default remote is taken away for that.
func (a *alone) wantKnown(t *testing.T, i int) {
	t.Helper()
	peer := peerAddr(a.local).String()
	a.fdb(t, "del", zeroMAC, "dst", peer)
	a.sent(t, 1, ether(station(i), macOf(t, a.Host, a.dev), typeLocal, make([]byte, 46)))
	a.fdb(t, "append", zeroMAC, "dst", peer)
}

// TestForgedSource has somebody else say that he is a station with a static or
// permanent entry: the frames are dropped and counted, and the entry stays.
func TestForgedSource(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		for i, state := range []string{"static", "permanent"} {
			const n = 1000
			a := newAlone(t, k, v6, nil)
			pinned, owner := "02:00:00:00:0c:0"+strconv.Itoa(i), a.other(t, 1)
			a.fdb(t, "add", pinned, "dst", owner, state)
			entry := a.entry(t, pinned)
			a.flood(t, n, func(*net.UDPConn, []byte) []byte {
				return vxlan(aloneVNI, ether(broadcast, mac(pinned), typeLocal, make([]byte, 46)))
			})
			a.wantNothingIn(t, map[string]uint64{"pinned_source": n})
			a.awaitEntry(t, pinned, entry...)
			a.deliverFrom(t, owner, pinned)
			a.awaitFigure(t, "rx_packets", func(f figures) uint64 { return f.rxPackets }, 1)
		}
	})
}

// TestLoop has the link's own frames come back to it: a loop ends there.
func TestLoop(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		for _, learn := range []bool{true, false} {
			const n = 1000
			a := newAlone(t, k, v6, func(s *spec) { s.NoLearning = !learn })
			own := macOf(t, a.Host, a.dev)
			a.flood(t, n, func(*net.UDPConn, []byte) []byte {
				return vxlan(aloneVNI, ether(broadcast, own, typeLocal, make([]byte, 46)))
			})
			a.wantNothingIn(t, map[string]uint64{"own_source": n})
			a.awaitEntry(t, own.String())
		}
	})
}

// wantNothingIn wants nothing to have been delivered, and of weft the reasons.
func (a *alone) wantNothingIn(t *testing.T, reasons map[string]uint64) {
	t.Helper()
	if a.kind == kernel {
		reasons = map[string]uint64{}
	}
	check(t, lab.Eventually(waitLimit, func() error {
		if got := a.dropped(t); !maps.Equal(got, reasons) {
			return fmt.Errorf("dropped %v, want %v", got, reasons)
		}
		return nil
	}))
	if got := a.figures(t).rxPackets; got != 0 {
		t.Errorf("%d packets came in, want none", got)
	}
}

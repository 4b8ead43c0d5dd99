package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// hostileDatagrams is how many of them a link has to bear.
const hostileDatagrams = 20_000

// TestHostileDatagrams floods a link with junk. Afterwards the same daemon is
// there, every datagram was either delivered or dropped for one reason, and
// pings and transfers go through as before, super-frames included.
func TestHostileDatagrams(t *testing.T) {
	for _, u := range []underlay{underlay4, underlay6} {
		for _, offload := range []string{"on", "off"} {
			t.Run(u.name+"/offload "+offload, func(t *testing.T) {
				t.Parallel()
				a, b := connectQuiet(t, pairing{user, kernel}, u, "offload", offload)
				knowForGood(t, a, b)
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
				pids, log, before := daemons(t, a.Host), a.weft.log(), a.figures(t)
				sent := sendJunk(t, b.Host, u)
				var after figures
				check(t, lab.Eventually(2*waitLimit, func() error {
					after = a.figures(t)
					delivered, lost := after.rxPackets-before.rxPackets, after.lost(before)
					if delivered+lost != uint64(sent) {
						return fmt.Errorf("%d delivered and %d dropped of %d: %v", delivered, lost, sent, after.weft.Drops)
					}
					return nil
				}))
				checkVaried(t, before, after)
				if now := daemons(t, a.Host); len(now) != 1 || !slices.Equal(now, pids) {
					t.Errorf("daemons %v before and %v after, want the same one", pids, now)
				}
				if now := a.weft.log(); now != log {
					t.Errorf("logged: %s", strings.TrimPrefix(now, log))
				}
				checkWorks(t, a, b, offload == "on")
			})
		}
	}
}

// knowForGood keeps two ends from asking for one another, as neighbours do again
// after five seconds.
func knowForGood(t *testing.T, a, b *vtep) {
	t.Helper()
	for _, ends := range [][2]*vtep{{a, b}, {b, a}} {
		d, err := ends[1].Device(ends[1].link)
		check(t, err)
		check(t, ends[0].AddNeighbour(ends[0].link, ends[1].addr, d.MAC))
	}
}

// sendJunk sends the datagrams from b, a part of them in runs as
// UDP_SEGMENT makes them, some with wrong checksums, and says how many.
func sendJunk(t *testing.T, from *lab.Host, u underlay) (sent int) {
	t.Helper()
	var c net.PacketConn
	check(t, from.Do(func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", netip.AddrPortFrom(u.b, 0).String())
		return err
	}))
	defer func() { _ = c.Close() }()
	conn, to, j := c.(*net.UDPConn), netip.AddrPortFrom(u.a, 4789), newJunk(t, 1)
	for sent < hostileDatagrams {
		switch j.IntN(50) {
		case 0:
			check(t, from.SendUDP(netip.AddrPortFrom(u.b, 7), to, j.next(), lab.DatagramOptions{BadChecksum: true, TOS: uint8(sent)}))
			sent++
		case 1:
			check(t, from.SendUDP(netip.AddrPortFrom(u.b, 7), to, j.next(), lab.DatagramOptions{TOS: uint8(sent)}))
			sent++
		case 2:
			sent += sendRun(t, conn, to, j)
		default:
			_, err := conn.WriteToUDPAddrPort(j.next(), to)
			check(t, err)
			sent++
		}
	}
	return sent
}

// sendRun sends several datagrams of one size in one message.
func sendRun(t *testing.T, conn *net.UDPConn, to netip.AddrPort, j *junk) int {
	t.Helper()
	size, n := 1+j.IntN(1400), 2+j.IntN(20)
	var run []byte
	for range n {
		one := append(j.next(), make([]byte, size)...)
		run = append(run, one[:size]...)
	}
	control := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint64(control, uint64(unix.CmsgLen(2)))
	binary.NativeEndian.PutUint32(control[8:], unix.SOL_UDP)
	binary.NativeEndian.PutUint32(control[12:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(control[16:], uint16(size))
	_, _, err := conn.WriteMsgUDPAddrPort(run, control, to)
	check(t, err)
	return n
}

// checkVaried makes sure that the junk was of all sorts.
func checkVaried(t *testing.T, before, after figures) {
	t.Helper()
	for _, r := range []string{"short_header", "no_vni_flag", "unknown_vni", "reserved_bits", "short_frame", "bad_length", "checksum", "ecn"} {
		if n := after.weft.Drops[r] - before.weft.Drops[r]; n == 0 {
			t.Errorf("no datagram was dropped for %s", r)
		}
	}
	if n := after.rxPackets - before.rxPackets; n < hostileDatagrams/10 {
		t.Errorf("%d of %d were delivered", n, hostileDatagrams)
	}
}

// checkWorks wants the link to carry what it did before.
func checkWorks(t *testing.T, a, b *vtep, offload bool) {
	t.Helper()
	check(t, a.Ping(b.addr, lab.PingOptions{Count: 10, Size: 1400}).Lost())
	before := a.figures(t).weft.Offload.DevGSO
	for _, c := range []struct{ from, to *vtep }{{a, b}, {b, a}} {
		_, err := lab.Transfer(c.from.Host, c.to.Host, netip.AddrPortFrom(c.to.addr, 0), 4<<20)
		check(t, err)
	}
	if n := a.figures(t).weft.Offload.DevGSO - before; offload && n == 0 {
		t.Error("the device carries no super-frames any more")
	}
}

// daemons are the process ids of weft's daemons in a host.
func daemons(t *testing.T, h *lab.Host) (pids []string) {
	t.Helper()
	inode, err := h.Inode()
	check(t, err)
	all, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, link := range all {
		ns, _ := os.Readlink(link)
		dir := filepath.Dir(filepath.Dir(link))
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if ns == fmt.Sprintf("net:[%d]", inode) && strings.Contains(string(command), "daemon") {
			pids = append(pids, filepath.Base(dir))
		}
	}
	return pids
}

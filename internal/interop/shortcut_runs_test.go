package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestShortcutRuns has a busy station's datagrams come in runs, as a peer's process
// sends them, one of another station between them: the kernel cuts the runs and
// takes in what it knows, the rest is the process's, and each frame comes out once.
// Runs of less than the size from which the device cuts are among them.
func TestShortcutRuns(t *testing.T) {
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		for _, p := range []inner{{size: 1}, {size: 300}, {size: 1, v6: true}, {size: 1300, v6: true}} {
			t.Run(fmt.Sprintf("%s/%d bytes, IPv6 %v", u.name, p.size, p.v6), func(t *testing.T) {
				t.Parallel()
				a := newAlone(t, user, u, nil)
				for _, h := range []*lab.Host{a.Host, a.peer} {
					check(t, h.SetOffloads("eth0", lab.OffloadsOn()))
				}
				tries := 0
				check(t, lab.Eventually(waitLimit, func() error {
					tries++
					return a.receiveRun(t, tries, p)
				}))
			})
		}
	}
}

// receiveRun sends a run of six such frames and looks for each. The error says that the
// kernel took in fewer than those before the strange one.
func (a *alone) receiveRun(t *testing.T, try int, p inner) error {
	t.Helper()
	const busy, strange, of = 1, 3, 6
	before := a.busy(t, busy)
	seen, late := len(a.inside.Frames()), station(t, busy, 0)
	missing, frames := map[string]bool{}, [][]byte(nil)
	for i := range of {
		mark := busy
		p.srcPort, p.dstPort = uint16(try), uint16(i)
		switch i {
		case strange:
			mark = 100 + try
		case of - 1:
			p.size-- // as the last of a run may be shorter
		}
		frames = append(frames, p.frame(t, mark))
		missing[string(frames[i])] = true
	}
	a.sendRun(t, frames)
	now := a.settled(t)
	for _, f := range a.inside.Frames()[seen:] {
		if binary.BigEndian.Uint16(f.Data[12:]) == typeLocal || bytes.Equal(f.Data, late) {
			continue // the fence, or one that made the station busy and counted before it came out
		}
		if !missing[string(f.Data)] {
			t.Fatalf("it was not sent, or came again: %x", f.Data)
		}
		delete(missing, string(f.Data))
	}
	if len(missing) > 0 {
		t.Fatalf("%d of %d frames did not come", len(missing), of)
	}
	if n := now.rxPackets - before.rxPackets; n != of+1 {
		t.Fatalf("%d packets counted, want %d and the fence", n, of)
	}
	if n := receivedShort(now.since(before)); n < strange {
		return fmt.Errorf("the kernel took in %d", n)
	}
	return nil
}

// sendRun sends the frames' datagrams in one message; the peer's device passes it
// on whole.
func (a *alone) sendRun(t *testing.T, frames [][]byte) {
	t.Helper()
	c := openUDP(t, a.peer, netip.AddrPortFrom(a.b, 0))
	defer func() { _ = c.Close() }()
	size, run := len(vxlan(5, frames[0])), []byte(nil)
	for _, f := range frames {
		run = append(run, vxlan(5, f)...)
	}
	check(t, setSegment(c, size))
	_, err := c.WriteToUDPAddrPort(run, netip.AddrPortFrom(a.a, a.port))
	check(t, err)
}

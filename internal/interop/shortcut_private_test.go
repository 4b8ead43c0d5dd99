package interop

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/weftnet/weft/internal/lab"
)

// privateCase is traffic from a to b of which some goes through a private device.
type privateCase struct {
	name   string
	device string // of b, or of a if it sends by it
	sends  bool
	blamed string // by whom the device went, when it was deleted
	mode   wireMode
	adjust func(a, b *spec)
	rounds func(t *testing.T, a, b *vtep) func(t *testing.T) (round func() error)
	loses  bool                 // what is lost on the way is not sent again
	goesOn func(figures) uint64 // what the kernel carries all the same; nil if the process has all
}

var privateCases = []privateCase{
	{name: "near end of the pair", device: "weft-rx0a", blamed: "weft-rx0a", mode: wireLike, rounds: transferRounds, goesOn: receivedShort},
	{name: "far end of the pair", device: "weft-rx0b", blamed: "weft-rx0a", mode: wireLike, rounds: transferRounds, goesOn: receivedShort},
	{name: "runs", device: "weft-rx0c", blamed: "weft-rx0c", mode: wireLike, rounds: runRounds, loses: true, adjust: func(a, _ *spec) {
		a.Env = append(a.Env, "WEFT_OFFLOAD_OFF=shortcut_tx")
	}},
	{name: "uneven super-frames", device: "weft-rx0c", blamed: "weft-rx0c", sends: true, mode: offloadsOn, rounds: transferRounds, goesOn: sentShort, adjust: func(a, _ *spec) {
		a.Words = append(a.Words, "udpcsum")
	}},
	{name: "passed on", device: "weft-rx0d", blamed: "weft-rx0d", mode: offloadsOn, rounds: passedRounds},
}

// TestShortcutPrivateDevice takes private devices down, brings them up again and
// deletes them, while packets go through them. What was on the way at that moment may
// be lost; then all goes on without the device, and with it when it is up again, and
// the log and `weft link show` say so.
func TestShortcutPrivateDevice(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, c := range privateCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := connect(t, pairing{user, user}, underlay4, c.adjust)
			c.mode.apply(t, a, b)
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			p := privateDevice{vtep: b, privateCase: c, begin: c.rounds(t, a, b)}
			if c.sends {
				p.vtep = a
			}
			p.isUsed(t)
			p.takeAway(t, p.SetDown, c.device+": it is down")
			check(t, p.SetUp(c.device))
			p.isUsed(t)
			p.said(t, "", "a private device is used again", c.device)
			p.takeAway(t, p.Delete, c.blamed+": it is gone")
			if n := strings.Count(p.weft.log(), "a private device is not used"); n != 2 {
				t.Errorf("the log has %d lines about what is not used", n)
			}
		})
	}
}

// privateDevice is one at the end that it belongs to.
type privateDevice struct {
	*vtep
	privateCase
	begin func(t *testing.T) (round func() error)
}

// isUsed has traffic go on until the device counts some of it.
func (p *privateDevice) isUsed(t *testing.T) {
	t.Helper()
	before, err := p.carried()
	check(t, err)
	round := p.begin(t)
	check(t, lab.Eventually(2*waitLimit, func() error {
		check(t, round())
		if now, err := p.carried(); err != nil || now < before+16 {
			return fmt.Errorf("%s carried %d packets: %w", p.device, now-before, err)
		}
		return nil
	}))
}

// carried is how many packets the device has counted.
func (p *privateDevice) carried() (uint64, error) {
	s, err := p.Stats(p.device)
	return s.RxPackets + s.TxPackets, err
}

// takeAway does so with the device while packets go through it, and then has some
// more traffic, of which nothing is lost.
func (p *privateDevice) takeAway(t *testing.T, away func(string) error, why string) {
	t.Helper()
	stop, ended, round := make(chan struct{}), make(chan error), p.begin(t)
	go func() {
		var err error
		for goes := true; goes && (err == nil || p.loses); {
			err = round()
			select {
			case <-stop:
				goes = false
			default:
			}
		}
		ended <- err
	}()
	err := away(p.device)
	p.said(t, why, append(strings.SplitN(why, ": ", 2), "a private device is not used")...)
	close(stop)
	if err := errors.Join(err, <-ended); err != nil && !p.loses {
		t.Fatal(err)
	}
	p.goOn(t)
}

// goOn has traffic go on without the device, some of it past the process if that is
// how it goes.
func (p *privateDevice) goOn(t *testing.T) {
	t.Helper()
	round, before, dropped := p.begin(t), p.figures(t), p.dropped(t)
	for range 4 {
		check(t, round())
	}
	check(t, lab.Eventually(2*waitLimit, func() error {
		check(t, round())
		if now := p.figures(t).since(before); p.goesOn != nil && p.goesOn(now) == 0 {
			return fmt.Errorf("nothing goes past the process: %+v", now.weft)
		}
		return nil
	}))
	if now := p.figures(t).since(before); now.lost(figures{}) > 0 {
		t.Errorf("lost: %+v", now.weft)
	}
	if n := p.dropped(t) - dropped; n > 0 {
		t.Errorf("%d packets were given to devices that are of no use", n)
	}
}

// dropped is how many packets the device dropped, or the other end of its pair: TCP sends
// again what was lost, and does not tell. What goes to weft-rx0d is dropped behind its
// far end, and not counted.
func (p *privateDevice) dropped(t *testing.T) (n uint64) {
	t.Helper()
	if p.device == "weft-rx0d" {
		n = p.scrubbed(t)
	}
	links, err := p.Netlink().LinkList()
	check(t, err)
	for _, l := range links {
		// Of others the kernel's own questions by IPv6 are dropped.
		if s, name := l.Attrs().Statistics, l.Attrs().Name; name == p.device || name == p.blamed {
			n += s.RxDropped + s.TxDropped
		}
	}
	return n
}

// scrubbed is how many packets came to the far end of weft-rx0d, in the namespace
// that nobody but weft holds; 0 once it is gone.
func (p *privateDevice) scrubbed(t *testing.T) uint64 {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.weft.pid(t)))
	check(t, err)
	for _, f := range files {
		if to, err := os.Readlink(f); err != nil || !strings.HasPrefix(to, "net:[") {
			continue
		}
		ns, err := netns.GetFromPath(f)
		check(t, err)
		h, err := netlink.NewHandleAt(ns)
		check(t, errors.Join(err, ns.Close()))
		end, err := h.LinkByName("scrub")
		h.Close()
		if err == nil {
			return end.Attrs().Statistics.RxPackets
		}
	}
	return 0
}

// said waits until weft shows that it does without a device, or without none, and a
// line of the log has these words.
func (p *privateDevice) said(t *testing.T, without string, words ...string) {
	t.Helper()
	want := "on"
	if without != "" {
		want += " (without " + without + ")"
	}
	name := "shortcut_rx"
	if p.sends {
		name = "shortcut_tx"
	}
	check(t, lab.Eventually(waitLimit, func() error {
		if got := p.weft.links()[0].Offload[name]; got != want {
			return fmt.Errorf("%s is %s, want %s", name, got, want)
		}
		return p.logged(words)
	}))
}

// logged returns an error unless a line of the log has all those words.
func (p *privateDevice) logged(words []string) error {
	for line := range strings.Lines(p.weft.log()) {
		has := true
		for _, w := range words {
			has = has && strings.Contains(line, w)
		}
		if has {
			return nil
		}
	}
	return fmt.Errorf("no line of the log has %q", words)
}

// transferRounds are checked transfers through the link.
func transferRounds(_ *testing.T, a, b *vtep) func(*testing.T) func() error {
	return func(*testing.T) func() error {
		return func() error {
			_, err := lab.Transfer(a.Host, b.Host, anyPort(innerB[0]), mib+1)
			return err
		}
	}
}

// passedRounds are transfers between containers behind the hosts.
func passedRounds(t *testing.T, a, b *vtep) func(*testing.T) func() error {
	t.Helper()
	a, b = a.second(t, underlay4, 1), b.second(t, underlay{a: underlay4.b, b: underlay4.a}, 2)
	from, to := a.container(t, 1, b), b.container(t, 2, a)
	return func(*testing.T) func() error {
		return func() error {
			_, err := lab.Transfer(from, to, anyPort(containerAddr(2)[0]), mib+1)
			return err
		}
	}
}

// runRounds are datagrams one by one, by which the station is known, and then a run
// of them.
func runRounds(_ *testing.T, a, b *vtep) func(*testing.T) func() error {
	const size, single, many = 1000, 32, 20
	content := bytes.Repeat([]byte{0}, size*many)
	for i := range many {
		content[i*size] = byte(i)
	}
	return func(t *testing.T) func() error {
		t.Helper()
		server := openUDP(t, b.Host, netip.AddrPortFrom(innerB[0].Addr(), 0))
		client := openUDP(t, a.Host, netip.AddrPortFrom(innerA[0].Addr(), 0))
		check(t, setSegment(client, size))
		t.Cleanup(func() { _, _ = server.Close(), client.Close() })
		to := server.LocalAddr().(*net.UDPAddr).AddrPort()
		send := func(content []byte) error {
			_, err := client.WriteToUDPAddrPort(content, to)
			if err == nil {
				err = receiveRun(server, size, content)
			}
			return err
		}
		return func() error {
			for range single {
				if err := send(content[:size]); err != nil {
					return err
				}
			}
			return send(content)
		}
	}
}

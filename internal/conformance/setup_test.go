package conformance

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// A set-up that lasts: the unit and the file of deploy/, with everything in
// them that is an example made to hold.

// unit has what systemd would take from deploy/weft.service.
type unit struct {
	command   []string // of weft
	file      string   // of its batch
	onFailure bool     // started again after a failure
}

// readUnit reads the unit.
func readUnit(t *testing.T) (u unit) {
	t.Helper()
	text := must(os.ReadFile("../../deploy/weft.service"))(t)
	for line := range strings.Lines(string(text)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
		case "ExecStart":
			u.command = strings.Fields(value)[1:]
			u.file = u.command[len(u.command)-1]
		case "Restart":
			u.onFailure = value == "on-failure"
		}
	}
	if !u.onFailure || len(u.command) != 3 || u.command[1] != "--batch" {
		t.Fatalf("the unit says %+v, want a daemon with a batch, started again after failures", u)
	}
	return u
}

// example is a line that holds once the # is taken out.
var example = regexp.MustCompile(`(?m)^#([a-z])`)

// service plays systemd for the unit in a host.
type service struct {
	t    *testing.T
	weft *vtep.Weft
	unit unit

	mu   sync.Mutex
	now  *lab.Process
	ends chan error // when it is not started again
}

// newService puts the unit and its file, examples taken for true, into a host.
func newService(t *testing.T, h *lab.Host) *service {
	t.Helper()
	s := &service{t: t, weft: newWeft(t, h), unit: readUnit(t)}
	batch := must(os.ReadFile("../../deploy/weft.batch"))(t)
	s.unit.command[2] = writeFile(t, example.ReplaceAllString(string(batch), "$1"))
	return s
}

// start starts the service, as a boot does, and starts it again after each
// failure.
func (s *service) start() {
	s.t.Helper()
	check(s.t, s.spawn())
	s.ends = make(chan error, 1)
	go func() {
		for {
			p := s.process()
			<-p.Ended()
			out, err := p.Wait(waitLimit)
			if err == nil && out.Status != 0 {
				if err = s.spawn(); err == nil {
					continue
				}
			}
			s.ends <- err
			return
		}
	}()
}

func (s *service) spawn() error {
	p, err := s.weft.Spawn(s.unit.command...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = p
	return err
}

func (s *service) process() *lab.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// stop stops it as a shutdown does.
func (s *service) stop() {
	s.t.Helper()
	check(s.t, s.process().Signal(syscall.SIGTERM))
	check(s.t, <-s.ends)
}

// kill ends the daemon as a fault would, and waits until another is there.
func (s *service) kill() {
	s.t.Helper()
	p := s.process()
	check(s.t, p.Signal(syscall.SIGKILL))
	check(s.t, lab.Eventually(waitLimit, func() error {
		if s.process() == p {
			return fmt.Errorf("daemon %d was not started again", p.Pid())
		}
		return nil
	}))
}

// TestSetUpLasts has the examples' links, tables and addresses carry what they
// should with kernel peers: after a boot, after the daemon was killed, and
// after another boot.
func TestSetUpLasts(t *testing.T) {
	t.Parallel()
	lab.NeedTUN(t)
	e := newExampleSite(t)
	s := newService(t, e.host)
	for range 2 {
		s.start()
		e.wantSetUp(t, s.weft)
		for range 2 {
			s.kill()
			e.wantSetUp(t, s.weft)
		}
		s.stop()
		for _, dev := range []string{"vxlan0", "vxlan1"} {
			if _, err := e.host.Device(dev); err == nil {
				t.Errorf("%s is left", dev)
			}
		}
		awaitMembers(t, e.host, exampleGroup, false)
	}
}

// exampleGroup is the examples' multicast group.
var exampleGroup = netip.MustParseAddr("239.1.1.1")

// exampleSite is the network that the examples are of: a host with a bridge
// and a container, and another with the kernel's devices.
type exampleSite struct {
	host, peer, container *lab.Host
}

func newExampleSite(t *testing.T) *exampleSite {
	t.Helper()
	e := &exampleSite{lab.TestHost(t, "host"), lab.TestHost(t, "peer"), lab.TestHost(t, "container")}
	check(t, lab.Connect(
		lab.Port{Host: e.host, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		lab.Port{Host: e.peer, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")}},
	))
	check(t, e.host.AddBridge("br0"))
	check(t, lab.Connect(lab.Port{Host: e.host, Dev: "c"}, lab.Port{Host: e.container, MTU: 1450, Addrs: []netip.Prefix{netip.MustParsePrefix("10.43.0.1/24")}}))
	check(t, e.host.SetMaster("br0", "c"))
	newLink(t, e.peer, kernel, spec{
		VXLAN: lab.VXLAN{Name: "vxlan0", ID: 42, Port: 4789, Remote: netip.MustParseAddr("192.0.2.1"), Dev: "eth0"},
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.42.0.2/24")},
	})
	newLink(t, e.peer, kernel, spec{
		VXLAN: lab.VXLAN{Name: "vxlan1", ID: 43, Port: 4789, Remote: exampleGroup, Dev: "eth0"},
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.43.0.2/24")},
	})
	return e
}

// wantSetUp wants all that the examples say.
func (e *exampleSite) wantSetUp(t *testing.T, w *vtep.Weft) {
	t.Helper()
	ping(t, e.host, netip.MustParseAddr("10.42.0.2"))
	ping(t, e.container, netip.MustParseAddr("10.43.0.2"))
	if d := must(e.host.Device("vxlan0"))(t); !slices.Contains(d.Addresses, netip.MustParsePrefix("10.42.0.1/24")) {
		t.Errorf("vxlan0 has the addresses %v", d.Addresses)
	}
	lines := (&link{Host: e.host, kind: user, dev: "vxlan0", weft: w}).table(t)
	for _, want := range []string{
		"02:00:00:00:00:05 dst 192.0.2.3 self static",
		zeroMAC + " dst 192.0.2.2 via eth0 self permanent",
		zeroMAC + " dst 192.0.2.3 self permanent",
		zeroMAC + " dst 192.0.2.4 self permanent",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("table of vxlan0: %q, want the line %q", lines, want)
		}
	}
}

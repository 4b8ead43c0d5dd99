package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// scene is a host in which an add is to be refused, and what was there before.
type scene struct {
	*weft
	devices []string
	files   []string
	pid     int // of the daemon, 0 = none
}

func newScene(t *testing.T, w *weft) *scene {
	t.Helper()
	s := &scene{weft: w, devices: devices(t, w.host), files: w.files()}
	if len(w.sockets()) > 0 {
		s.pid = w.pid(t)
	}
	return s
}

// devices tells what a host's devices are and what state they are in.
func devices(t *testing.T, h *lab.Host) (states []string) {
	t.Helper()
	for _, name := range deviceNames(t, h) {
		d, err := h.Device(name)
		check(t, err)
		states = append(states, fmt.Sprintln(d.Name, d.Index, d.Kind, d.MTU, d.MAC, d.Flags, d.Addresses))
	}
	return states
}

// refused runs a command that must fail with a status and a message that has
// some parts, and leave everything as it was.
func (s *scene) refused(t *testing.T, status int, words []string, parts ...string) {
	t.Helper()
	out := s.run(words...)
	line := strings.Join(words, " ")
	if out.Status != status || out.Stdout != "" {
		t.Errorf("weft %s: status %d, stdout %q, want status %d", line, out.Status, out.Stdout, status)
	}
	if !strings.HasPrefix(out.Stderr, "weft: ") || strings.Count(out.Stderr, "\n") != 1 {
		t.Errorf("weft %s: %q, want one line that begins with weft:", line, out.Stderr)
	}
	for _, part := range parts {
		if !strings.Contains(out.Stderr, part) {
			t.Errorf("weft %s: %q does not name %q", line, out.Stderr, part)
		}
	}
	s.checkUnchanged(t, line)
}

func (s *scene) checkUnchanged(t *testing.T, line string) {
	t.Helper()
	if now := devices(t, s.host); !slices.Equal(now, s.devices) {
		t.Errorf("weft %s: devices are %v, and were %v", line, now, s.devices)
	}
	if files := s.weft.files(); !slices.Equal(files, s.files) {
		t.Errorf("weft %s: the run directory has %v, and had %v", line, files, s.files)
	}
	if s.pid != 0 && s.weft.pid(t) != s.pid {
		t.Errorf("weft %s: another daemon serves", line)
	}
}

// TestRefusedForTheMachine asks for what this machine cannot give.
func TestRefusedForTheMachine(t *testing.T) {
	t.Parallel()
	narrow := []string{"dstport", "4790", "srcport", "4789", "4790"}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, h *lab.Host)
		words   []string
		parts   []string
	}{
		"port held by the kernel's device": {kernelHolds(underlay4), addWords("vx", 5), []string{"4789", "kernel", "kvx0", "dstport"}},
		"port held by the kernel's device, IPv6": {kernelHolds(underlay6),
			[]string{"link", "add", "vx", "type", "vxlan", "id", "5", "remote", underlay6.b.String(), "dstport", "4789"}, []string{"4789", "kernel", "kvx0", "dstport"}},
		"port held by a process": {func(t *testing.T, h *lab.Host) { holdPort(t, h, "udp4") }, addWords("vx", 5),
			[]string{"4789", fmt.Sprint("process ", os.Getpid()), "dstport"}},
		"name of a veth":  {nil, addWords("eth0", 5), []string{"eth0", "exists", "veth"}},
		"name of lo":      {nil, addWords("lo", 5), []string{"lo ", "exists"}},
		"name of a TAP":   {persistentTAP, addWords("tap0", 5), []string{"tap0", "exists", "tun"}},
		"no such dev":     {nil, append(addWords("vx", 5)[:9], "dev", "eth7"), []string{"eth7"}},
		"no free srcport": {func(t *testing.T, h *lab.Host) { holdPort(t, h, "udp4") }, append(addWords("vx", 5)[:9], narrow...), []string{"srcport", "4789"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLoneWeft(t)
			if c.prepare != nil {
				c.prepare(t, w.host)
			}
			newScene(t, w).refused(t, 1, c.words, c.parts...)
		})
	}
}

// kernelHolds makes a device of the kernel's hold port 4789 of a family.
func kernelHolds(u underlay) func(*testing.T, *lab.Host) {
	return func(t *testing.T, h *lab.Host) {
		lab.NeedKernelVXLAN(t)
		check(t, h.AddKernelVXLAN(lab.VXLAN{Name: "kvx0", ID: 9, Port: 4789, Remote: u.b}))
		check(t, h.SetUp("kvx0"))
	}
}

// holdPort has this process hold port 4789 in the host.
func holdPort(t *testing.T, h *lab.Host, network string) {
	t.Helper()
	var c net.PacketConn
	check(t, h.Do(func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(context.Background(), network, ":4789")
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
}

// persistentTAP makes a TAP device that nobody has open: TUNSETIFF with its
// name would take it over.
func persistentTAP(t *testing.T, h *lab.Host) {
	t.Helper()
	check(t, h.Do(func() error {
		return netlink.LinkAdd(&netlink.Tuntap{
			LinkAttrs: netlink.LinkAttrs{Name: "tap0", TxQLen: -1}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI,
		})
	}))
}

// TestRefusedBesideOthers asks for what the links that exist already have: the
// daemon and they go on.
func TestRefusedBesideOthers(t *testing.T) {
	t.Parallel()
	a, b := connect(t, pairing{user, kernel}, underlay4, nil)
	kernelHolds(underlay6)(t, a.Host)
	s := newScene(t, a.weft)
	for _, c := range []struct {
		words []string
		parts []string
	}{
		{addWords("vx", 5), []string{"VNI 5", "4789", "vxlan0"}},
		{addWords("vxlan0", 6), []string{"vxlan0", "exists"}},
		{addWords("eth0", 6), []string{"eth0", "exists"}},
		{append(addWords("vx", 6)[:9], "dev", "eth7", "dstport", "4789"), []string{"eth7"}},
		{[]string{"link", "add", "vx", "type", "vxlan", "id", "5", "remote", underlay6.b.String(), "dstport", "4789"}, []string{"kvx0"}},
		{[]string{"link", "del", "vx"}, []string{`"vx"`, "vxlan0"}},
		{[]string{"link", "del", "eth0"}, []string{"eth0", "not weft's"}},
	} {
		s.refused(t, 1, c.words, c.parts...)
	}
	check(t, a.Ping(b.addr, lab.PingOptions{Count: 3}).Lost())
	// VNI 5 is another network on another port, and in the other family.
	a.weft.must("link", "add", "vx", "type", "vxlan", "id", "5", "remote", underlay4.b.String(), "dstport", "4790")
	check(t, a.Delete("kvx0"))
	a.weft.must("link", "add", "vx6", "type", "vxlan", "id", "5", "remote", underlay6.b.String(), "dstport", "4789")
}

// TestRefusedWithoutCapability runs weft as root of a container would that may
// not change the network.
func TestRefusedWithoutCapability(t *testing.T) {
	t.Parallel()
	w := newLoneWeft(t)
	s := newScene(t, w)
	text, status := runWithoutNetAdmin(t, w, addWords("vx", 5)...)
	if status != 1 || !strings.HasPrefix(string(text), "weft: ") || !strings.Contains(string(text), "CAP_NET_ADMIN") {
		t.Errorf("status %d, %q, want it to name CAP_NET_ADMIN", status, text)
	}
	s.checkUnchanged(t, "link add")
}

// runWithoutNetAdmin runs weft in its host on a thread that can never again
// have CAP_NET_ADMIN, nor can what it starts.
func runWithoutNetAdmin(t *testing.T, w *weft, words ...string) (text []byte, status int) {
	t.Helper()
	cmd := w.command(words...)
	err := away(func() error {
		if err := unix.Setns(w.host.NetNS(), unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0); err != nil {
			return err
		}
		var err error
		text, err = cmd.CombinedOutput()
		return err
	})
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return text, cmd.ProcessState.ExitCode()
}

//go:build linux && portable

package dataplane_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/lab"
)

// actAsEnd makes the test binary be one end of a link: a process of its own in
// its host's namespace, as the portable path wants it, because package net
// knows no namespaces. The variable holds its LinkConfigs as JSON.
const actAsEnd = "WEFT_PORTABLE_TEST_LINK"

func TestMain(m *testing.M) {
	if config := os.Getenv(actAsEnd); config != "" {
		if err := beEnd(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	lab.Main(m)
}

// report is what an end prints about its first link: when its link is there, when it is asked to by
// SIGUSR1, and when the link is to end.
type report struct {
	Info  dataplane.LinkInfo
	Stats dataplane.Stats
	Gone  bool // the device was deleted by somebody else
	Last  bool
}

// beEnd serves links until SIGTERM or the deletion of a device.
func beEnd(config string) error {
	var configs []dataplane.LinkConfig
	if err := json.Unmarshal([]byte(config), &configs); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	log, err := zap.NewDevelopment()
	if err != nil {
		return err
	}
	d := dataplane.New(log)
	for _, cfg := range configs {
		if _, err := d.AddLink(cfg); err != nil {
			return errors.Join(err, d.Close())
		}
	}
	link := d.Links()[0]
	if err := addRoutes(link); err != nil {
		return errors.Join(err, d.Close())
	}
	out := json.NewEncoder(os.Stdout)
	for r := (report{}); ; {
		r.Info, r.Stats = link.Info(), link.Stats()
		if err := out.Encode(r); err != nil || r.Last {
			return errors.Join(err, d.Close())
		}
		select {
		case <-d.Gone():
			r.Gone, r.Last = true, true
		case s := <-signals:
			r.Last = s == syscall.SIGTERM
		}
	}
}

// end is a host with one end of a link.
type end struct {
	*lab.Host
	process *lab.Process // nil for the kernel's
}

const (
	vni    = 5
	port   = 4789
	device = "tap0"
	limit  = 5 * time.Second
)

// The addresses inside.
var (
	innerA = []netip.Prefix{netip.MustParsePrefix("10.20.1.2/24"), netip.MustParsePrefix("fd20::2/64")}
	innerB = []netip.Prefix{netip.MustParsePrefix("10.20.1.3/24"), netip.MustParsePrefix("fd20::3/64")}
)

// underlay is a family of outer addresses and the MTU that it leaves. The
// portable end's address is not the one that its system would choose.
type underlay struct {
	name string
	a, b netip.Addr
	mtu  int
}

var (
	underlay4 = underlay{"IPv4", netip.MustParseAddr("10.211.55.21"), lab.PairB4.Addr(), 1450}
	underlay6 = underlay{"IPv6", netip.MustParseAddr("fd00:211:55::21"), lab.PairB6.Addr(), 1430}
)

// portableEnd makes a link as cfg says, with the MTU set by hand, and more
// links beside it.
func portableEnd(t *testing.T, h *lab.Host, cfg dataplane.LinkConfig, mtu int, addrs []netip.Prefix, more ...dataplane.LinkConfig) *end {
	t.Helper()
	cfg.Name, cfg.VNI, cfg.Port = device, vni, port
	return spawnEnd(t, h, append([]dataplane.LinkConfig{cfg}, more...), nil, mtu, addrs)
}

// spawnEnd starts the process of a portable end and waits for its links.
func spawnEnd(t *testing.T, h *lab.Host, configs []dataplane.LinkConfig, routes []dataplane.RouteChange, mtu int, addrs []netip.Prefix) *end {
	t.Helper()
	config, err := json.Marshal(configs)
	check(t, err)
	changes, err := json.Marshal(routes)
	check(t, err)
	p, err := h.Spawn([]string{actAsEnd + "=" + string(config), endRoutes + "=" + string(changes)}, "/proc/self/exe")
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: stderr of the link's process:\n%s", h.Name, p.Stderr())
		}
	})
	check(t, lab.Eventually(limit, func() error {
		if strings.Contains(p.Stdout(), "\n") {
			return nil
		}
		return fmt.Errorf("no link yet: %s", p.Stderr())
	}))
	check(t, h.SetMTU(device, mtu))
	return bringUp(t, &end{h, p}, device, addrs)
}

// kernelEnd makes the kernel's own device as the peer.
func kernelEnd(t *testing.T, h *lab.Host, local, remote netip.Addr, addrs []netip.Prefix) *end {
	t.Helper()
	lab.NeedKernelVXLAN(t)
	check(t, h.AddKernelVXLAN(lab.VXLAN{Name: device, ID: vni, Port: port, Local: local, Remote: remote, Dev: "eth0"}))
	return bringUp(t, &end{h, nil}, device, addrs)
}

func bringUp(t *testing.T, e *end, device string, addrs []netip.Prefix) *end {
	t.Helper()
	for _, p := range addrs {
		check(t, e.AddAddr(device, p))
	}
	check(t, e.SetUp(device))
	return e
}

// connect joins two fresh hosts, the portable path at a and the kernel at b.
func connect(t *testing.T, u underlay, adjust func(*dataplane.LinkConfig)) (a, b *end) {
	t.Helper()
	lab.NeedTUN(t)
	ha, hb := lab.TestPair(t)
	check(t, ha.AddAddr("eth0", netip.PrefixFrom(u.a, u.a.BitLen())))
	cfg := dataplane.LinkConfig{Remote: u.b, Local: u.a, Dev: "eth0"}
	if adjust != nil {
		adjust(&cfg)
	}
	b = kernelEnd(t, hb, u.b, u.a, innerB)
	return portableEnd(t, ha, cfg, u.mtu, innerA), b
}

// report returns the newest of what the link's process has printed.
func (e *end) report(t *testing.T) (r report) {
	t.Helper()
	out := e.process.Stdout()
	out = out[:strings.LastIndexByte(out, '\n')]
	check(t, json.Unmarshal([]byte(out[strings.LastIndexByte(out, '\n')+1:]), &r))
	return r
}

// ask has the link's process report how things are now.
func (e *end) ask(t *testing.T) report {
	t.Helper()
	before := len(e.process.Stdout())
	check(t, e.process.Signal(syscall.SIGUSR1))
	check(t, lab.Eventually(limit, func() error {
		if out := e.process.Stdout(); len(out) == before || !strings.HasSuffix(out, "\n") {
			return errors.New("no report")
		}
		return nil
	}))
	return e.report(t)
}

// stop ends the link and returns its last report.
func (e *end) stop(t *testing.T) report {
	t.Helper()
	out, err := e.process.Stop()
	check(t, err)
	last := e.report(t)
	if out.Status != 0 || !last.Last {
		t.Fatalf("the link's process: status %d: %s", out.Status, out.Stderr)
	}
	return last
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

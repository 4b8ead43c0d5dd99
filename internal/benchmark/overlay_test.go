//go:build linux

package benchmark

import (
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// Every overlay carries TCP from container to container and is compared with its
// references; only the wire between the nodes has what the mode says.
func TestOverlays(t *testing.T) {
	lab.NeedTUN(t)
	lab.NeedBridge(t)
	bed, err := NewBed(Modes()[1])
	check(t, err)
	defer func() { check(t, bed.Close()) }()
	var references []*Way
	for _, p := range OverlayReferences() {
		references = append(references, layOn(t, bed, p))
	}
	for _, p := range Overlays() {
		w := layOn(t, bed, p)
		c := Compare(Works()[0], 20*time.Millisecond, references, w)
		check(t, c.Turn())
		f := c.Figures(len(references))
		for _, r := range references {
			if f[gbps] <= 0 || f[r.Path.Ratio] <= 0 {
				t.Errorf("%s: %v Gbit/s, %s %v", p.Name, f[gbps], r.Path.Ratio, f[r.Path.Ratio])
			}
		}
		if _, counted := f[perCall]; counted != (p.Name == "agents-vxlan-user" || p.Name == "agents-udp") {
			t.Errorf("%s: packets per system call %v", p.Name, counted)
		}
		checkContainer(t, w.From.Host)
	}
	for _, n := range bed.nodes {
		have, err := n.Offloads("eth0")
		check(t, err)
		if have["tx-tcp-segmentation"] || !have["rx-gro"] {
			t.Errorf("%s: the wire has segmentation %v, GRO %v", n.Name, have["tx-tcp-segmentation"], have["rx-gro"])
		}
	}
}

// checkContainer wants a container that sends super-frames, on no network but the
// overlay.
func checkContainer(t *testing.T, c *lab.Host) {
	t.Helper()
	have, err := c.Offloads("eth0")
	check(t, err)
	d, err := c.Device("eth0")
	check(t, err)
	if !have["tx-tcp-segmentation"] || len(d.Addresses) == 0 || !strings.HasPrefix(d.Addresses[0].String(), "10.244.") {
		t.Errorf("%s: segmentation %v, addresses %v", c.Name, have["tx-tcp-segmentation"], d.Addresses)
	}
}

func layOn(t *testing.T, bed *Bed, p Path) *Way {
	t.Helper()
	w, err := bed.Lay(p)
	check(t, err)
	return w
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package interop

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/lab"
)

// wireMode is what a wire carries whole, and what has to be cut before.
type wireMode struct {
	name     string
	offloads lab.Offloads
	runs     bool // datagrams that weft sent at once arrive at once
	joins    bool // those that the kernel's device sent arrive at once too
}

var (
	offloadsOn  = wireMode{name: "wire-on", offloads: lab.OffloadsOn(), runs: true}
	offloadsOff = wireMode{name: "wire-off", offloads: lab.OffloadsOff()}
	// A network card cuts what it sends and joins what it receives. What the
	// machine's own vxlan device sent is joined only once its checksums are
	// finished.
	wireLike    = wireMode{name: "wire-like", offloads: with(lab.OffloadsOn(), lab.WireLike()), runs: true}
	wireJoining = wireMode{name: "wire-joining", offloads: with(lab.OffloadsOff(), lab.WireLike()), runs: true, joins: true}

	wireModes = []wireMode{offloadsOn, offloadsOff, wireLike, wireJoining}
)

// with is o changed by p.
func with(o, p lab.Offloads) lab.Offloads {
	maps.Copy(o, p)
	return o
}

// finished reports whether frames have their checksums on the wire.
func (m *wireMode) finished() bool { return !m.offloads["tx-checksum-ip-generic"] }

// joined reports whether the capturing host may have made a frame of several.
func (m *wireMode) joined(f lab.Frame) bool { return m.offloads["rx-gro"] && !f.Outgoing }

// tunnels reports whether a tunnelled super-frame enters the wire whole.
func (m *wireMode) tunnels() bool {
	return m.offloads["tx-udp_tnl-segmentation"] && m.offloads["tx-udp_tnl-csum-segmentation"]
}

// apply sets both ends' wire up, and waits until weft has seen that.
func (m *wireMode) apply(t *testing.T, ends ...*vtep) {
	t.Helper()
	for _, v := range ends {
		check(t, v.SetOffloads("eth0", m.offloads))
	}
	for _, v := range ends {
		if v.kind == user {
			check(t, lab.Eventually(10*time.Second, func() error { return v.knows(m) }))
		}
	}
}

// knows returns an error while weft takes the wire for another one.
func (v *vtep) knows(m *wireMode) error {
	says := v.weft.links()[0].Offload["tunnel_gso"]
	byDevice := says == "on" || strings.HasPrefix(says, "off (eth0 ")
	if byDevice && (says == "on") != m.tunnels() {
		return fmt.Errorf("%s says tunnel_gso %s on %s", v.Name, says, m.name)
	}
	return nil
}

// meter holds the figures of weft's ends from one moment on.
type meter struct {
	ends   []*vtep
	before []dataplane.Stats
}

// newMeter starts counting at those ends that are weft's.
func newMeter(t *testing.T, ends ...*vtep) *meter {
	t.Helper()
	m := &meter{}
	for _, v := range ends {
		if v.kind == user {
			m.ends = append(m.ends, v)
			m.before = append(m.before, v.weft.stats(v.link))
		}
	}
	return m
}

// moved returns what each end has counted since.
func (m *meter) moved() []dataplane.Stats {
	all := make([]dataplane.Stats, len(m.ends))
	for i, v := range m.ends {
		all[i] = difference(v.weft.stats(v.link), m.before[i])
	}
	return all
}

func difference(now, before dataplane.Stats) dataplane.Stats {
	for reason, n := range before.Drops {
		now.Drops[reason] -= n
	}
	now.RxPackets -= before.RxPackets
	now.RxBytes -= before.RxBytes
	now.TxPackets -= before.TxPackets
	now.TxBytes -= before.TxBytes
	now.Offload.DevGSO -= before.Offload.DevGSO
	now.Offload.DevUSO -= before.Offload.DevUSO
	now.Offload.UDPGSO -= before.Offload.UDPGSO
	now.Offload.UDPGRO -= before.Offload.UDPGRO
	now.Offload.TunnelGSO -= before.Offload.TunnelGSO
	return now
}

// checkDrops wants nothing dropped since, but for some reasons.
func (m *meter) checkDrops(t *testing.T, allowed ...string) {
	t.Helper()
	for i, s := range m.moved() {
		for reason, n := range s.Drops {
			if reason == "socket_full" && m.ends[i].weft.hasSmallBuffer() {
				continue
			}
			if n != 0 && !slices.Contains(allowed, reason) {
				t.Errorf("%s dropped %d for %s", m.ends[i].Name, n, reason)
			}
		}
	}
}

// engaged says which offloads carry something.
type engaged struct{ devGSO, devUSO, udpGSO, udpGRO, tunnelGSO bool }

// checkOffloads wants exactly those offloads to have carried something since.
func (m *meter) checkOffloads(t *testing.T, want engaged) {
	t.Helper()
	for i, s := range m.moved() {
		o, want := s.Offload, want
		got := engaged{o.DevGSO > 0, o.DevUSO > 0, o.UDPGSO > 0, o.UDPGRO > 0, o.TunnelGSO > 0}
		if want.tunnelGSO {
			// What super-frames leave over is a run by chance.
			want.udpGSO, want.udpGRO = got.udpGSO, got.udpGRO
		}
		if noVXLANExpected() && m.ends[i].lacks("udp_gso") {
			// Before Linux 6.11 a device that does not do checksums refuses
			// UDP_SEGMENT, which is then off for good; what arrives from an
			// end like this is joined by chance.
			want.udpGSO, want.udpGRO = false, got.udpGRO
		}
		if got != want {
			t.Errorf("%s: offloads that carried something are %+v, want %+v: %+v", m.ends[i].Name, got, want, o)
		}
	}
}

// lacks reports whether weft says that its end goes without an offload.
func (v *vtep) lacks(offload string) bool { return v.weft.links()[0].Offload[offload] != "on" }

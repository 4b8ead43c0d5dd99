//go:build linux

package benchmark

import "github.com/weftnet/weft/internal/lab"

// Mode is what the wire does for the hosts.
type Mode struct {
	Name     string
	inWords  string
	offloads lab.Offloads
}

// Modes are the modes that are measured. Between two veths with their offloads
// on no packet is ever cut or summed: the kernel's device then is measured as
// a handing over of pointers. Wire-like is what a network card without tunnel
// offloads would leave of that.
func Modes() []Mode {
	return []Mode{
		{"offloads-on", "between veths with their offloads on", lab.OffloadsOn()},
		{"wire-like", "over a wire-like link", lab.WireLike()},
	}
}

// apply sets a device's offloads, as far as its kernel knows them: one that it
// does not know is off.
func (m *Mode) apply(h *lab.Host, dev string) error {
	known, err := h.Offloads(dev)
	if err != nil {
		return err
	}
	want := lab.Offloads{}
	for name, on := range m.offloads {
		if _, ok := known[name]; ok {
			want[name] = on
		}
	}
	return h.SetOffloads(dev, want)
}

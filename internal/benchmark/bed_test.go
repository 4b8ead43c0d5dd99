//go:build linux

package benchmark

import "testing"

// Both ends of the wire are what the mode says.
func TestBedHasItsMode(t *testing.T) {
	for _, mode := range Modes() {
		bed, err := NewBed(mode)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range bed.hosts {
			have, err := h.Offloads("eth0")
			if err != nil {
				t.Error(err)
			}
			wire := mode.Name == "wire-like"
			if have["tx-tcp-segmentation"] == wire || have["tx-udp_tnl-segmentation"] == wire || have["rx-gro"] != wire {
				t.Errorf("%s: segmentation %v, of tunnels %v, GRO %v", mode.Name, have["tx-tcp-segmentation"], have["tx-udp_tnl-segmentation"], have["rx-gro"])
			}
		}
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	}
}

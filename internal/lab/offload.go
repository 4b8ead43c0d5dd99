//go:build linux

package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Offloads says which features of a device are on, by the kernel's names, as
// `ethtool -k` lists them.
type Offloads map[string]bool

// OffloadsOn is what a veth has from the start: the wire carries super-frames
// and unfinished checksums, and nothing is merged on receive.
func OffloadsOn() Offloads {
	on := all(transmitFeatures, true)
	on["rx-gro"] = false
	return on
}

// WireLike makes a veth carry what a cable would: no packet above the MTU,
// received packets merged by GRO as a network card's driver does.
func WireLike() Offloads {
	o := all(segmentFeatures, false)
	o["rx-gro"] = true
	return o
}

// OffloadsOff has every packet segmented and its checksums finished before it
// enters the wire, and nothing merged on receive.
func OffloadsOff() Offloads {
	off := all(transmitFeatures, false)
	off["rx-gro"] = false
	return off
}

// segmentFeatures are those by which a super-frame crosses a veth whole.
var segmentFeatures = []string{
	"tx-tcp-segmentation",
	"tx-tcp-ecn-segmentation",
	"tx-tcp-mangleid-segmentation",
	"tx-tcp6-segmentation",
	"tx-udp-segmentation",
	"tx-udp_tnl-segmentation",
	"tx-udp_tnl-csum-segmentation",
}

// transmitFeatures are those and the ones they rest on.
var transmitFeatures = append([]string{"tx-checksum-ip-generic", "tx-generic-segmentation"}, segmentFeatures...)

func all(names []string, value bool) Offloads {
	o := Offloads{}
	for _, name := range names {
		o[name] = value
	}
	return o
}

// SetOffloads switches features of a device, and fails if one did not follow.
func (h *Host) SetOffloads(dev string, want Offloads) error {
	return h.Do(func() error {
		if err := changeFeatures(dev, want); err != nil {
			return err
		}
		have, err := readFeatures(dev)
		if err != nil {
			return err
		}
		return differing(dev, want, have)
	})
}

// Offloads reads all features of a device.
func (h *Host) Offloads(dev string) (Offloads, error) {
	var o Offloads
	err := h.Do(func() (err error) {
		o, err = readFeatures(dev)
		return err
	})
	return o, err
}

func differing(dev string, want, have Offloads) error {
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != want[name] {
			wrong = append(wrong, fmt.Sprintf("%s is %v", name, have[name]))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("device %s did not take the offloads: %s", dev, strings.Join(wrong, ", "))
	}
	return nil
}

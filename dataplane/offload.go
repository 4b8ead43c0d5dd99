package dataplane

import (
	"fmt"
	"strings"
)

// Offloads is a set of offloads, each under the name by which statistics count
// it.
type Offloads uint8

// The offloads.
const (
	DevGSO     Offloads = 1 << iota // TCP super-frames from and to the device
	DevUSO                          // UDP super-frames, likewise (Linux 6.2)
	UDPGSO                          // UDP_SEGMENT on the sockets (Linux 4.18)
	UDPGRO                          // UDP_GRO on them (Linux 5.0)
	TunnelGSO                       // TCP super-frames sent whole, past the sockets (Linux 6.17)
	ShortcutTx                      // busy flows sent by the kernel alone (see internal/shortcut)
	ShortcutRx                      // and received so
	DevRing                         // datagrams that the device sends in a flood, without a system call each (Linux 6.6)
)

const (
	tunnelGSOName  = "tunnel_gso"
	shortcutTxName = "shortcut_tx"
	shortcutRxName = "shortcut_rx"
	devRingName    = "dev_ring"
)

var offloadNames = []struct {
	offload Offloads
	name    string
}{{DevGSO, "dev_gso"}, {DevUSO, "dev_uso"}, {UDPGSO, "udp_gso"}, {UDPGRO, "udp_gro"}, {TunnelGSO, tunnelGSOName}, {ShortcutTx, shortcutTxName}, {ShortcutRx, shortcutRxName}, {DevRing, devRingName}}

// ParseOffloads reads names separated by commas or blanks.
func ParseOffloads(text string) (set Offloads, err error) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		one := offloadNamed(word)
		if one == 0 {
			return 0, fmt.Errorf("offload %q is unknown: allowed are dev_gso, dev_uso, udp_gso, udp_gro, tunnel_gso, shortcut_tx, shortcut_rx, dev_ring", word)
		}
		set |= one
	}
	return set, nil
}

func offloadNamed(name string) Offloads {
	for _, o := range offloadNames {
		if o.name == name {
			return o.offload
		}
	}
	return 0
}

// refusals says of each offload that is not to be used, why.
type refusals map[Offloads]string

func (r refusals) has(o Offloads) bool { return r[o] != "" }

// refuse notes that the offloads of set are not to be used. The first reason
// stays.
func (r refusals) refuse(set Offloads, why string) {
	for _, o := range offloadNames {
		if set&o.offload != 0 && !r.has(o.offload) {
			r[o.offload] = why
		}
	}
}

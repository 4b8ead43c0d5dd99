package cli

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/weftnet/weft/dataplane"
)

// named returns a link's figures under its device's present name.
func (l *foundLink) named() dataplane.Stats {
	var s dataplane.Stats
	if l.stats != nil {
		s = *l.stats
	}
	s.Name = l.device.Name
	return s
}

// printStatsJSON prints one object for a link that was named, else an array.
func (a *app) printStatsJSON(links []foundLink, one bool) error {
	all := make([]dataplane.Stats, len(links))
	for i := range links {
		all[i] = links[i].named()
	}
	if one && len(all) == 1 {
		return a.printJSON(all[0])
	}
	return a.printJSON(all)
}

func (a *app) printStats(links []foundLink) error {
	var out bytes.Buffer
	for i := range links {
		writeStats(&out, links[i].named())
	}
	_, err := a.out.Write(out.Bytes())
	return err
}

// writeStats prints a link's figures for people, drops only where there were
// any.
func writeStats(out io.Writer, s dataplane.Stats) {
	row := func(name string, n uint64) { fmt.Fprintf(out, "    %-26s %14d\n", name, n) }
	fmt.Fprintf(out, "%s:\n", s.Name)
	row("rx_packets", s.RxPackets)
	row("rx_bytes", s.RxBytes)
	row("tx_packets", s.TxPackets)
	row("tx_bytes", s.TxBytes)
	for _, reason := range slices.Sorted(maps.Keys(s.Drops)) {
		if n := s.Drops[reason]; n != 0 {
			row("drops "+reason, n)
		}
	}
	row("syscalls dev_read", s.Syscalls.DevRead)
	row("syscalls dev_write", s.Syscalls.DevWrite)
	row("syscalls udp_send", s.Syscalls.UDPSend)
	row("syscalls udp_recv", s.Syscalls.UDPRecv)
	row("offload dev_gso", s.Offload.DevGSO)
	row("offload dev_uso", s.Offload.DevUSO)
	row("offload udp_gso", s.Offload.UDPGSO)
	row("offload udp_gro", s.Offload.UDPGRO)
	row("offload tunnel_gso", s.Offload.TunnelGSO)
	row("offload shortcut_tx", s.Offload.ShortcutTx)
	row("offload shortcut_rx", s.Offload.ShortcutRx)
	row("offload dev_ring", s.Offload.DevRing)
}

//go:build !linux || portable

package dataplane

import "github.com/weftnet/weft/dataplane/internal/underlay"

// kernelDrops stays empty: what the system dropped before the worker could see
// it, package net does not tell.
type kernelDrops struct{}

func watchDrops(*underlay.Receiver, bool) kernelDrops { return kernelDrops{} }

func (*kernelDrops) close()       {}
func (*kernelDrops) addTo(*Stats) {}

// deviceFull is not told either.
func (l *Link) deviceFull() uint64 { return 0 }

// features says of each offload why there is none.
func (l *Link) features() map[string]string {
	const dev, udp = "off (songgao/water carries single frames)", "off (golang.org/x/net has no word for it)"
	const none = "off (it needs offloads of the device)"
	return map[string]string{
		"dev_gso": dev, "dev_uso": dev, "udp_gso": udp, "udp_gro": udp,
		tunnelGSOName: none, shortcutTxName: none, shortcutRxName: none,
		devRingName: none,
	}
}

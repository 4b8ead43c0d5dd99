//go:build linux

package main

import (
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// printLayer prints what is worth seeing of a layer, in a line.
func printLayer(l gopacket.Layer, indent string) {
	fmt.Printf("  %s%-*s%s\n", indent, 11-len(indent), l.LayerType(), describe(l))
}

func describe(l gopacket.Layer) string {
	switch l := l.(type) {
	case *layers.Ethernet:
		return fmt.Sprintf("%s → %s  %s", l.SrcMAC, l.DstMAC, l.EthernetType)
	case *layers.IPv4:
		return fmt.Sprintf("%s → %s  ttl %d, tos %#02x, flags %q, id %d, %s", l.SrcIP, l.DstIP, l.TTL, l.TOS, l.Flags, l.Id, l.Protocol)
	case *layers.UDP:
		return fmt.Sprintf("%d → %d  length %d, checksum %#04x", l.SrcPort, l.DstPort, l.Length, l.Checksum)
	case *layers.ICMPv4:
		return fmt.Sprintf("%s  id %d, seq %d", l.TypeCode, l.Id, l.Seq)
	}
	return fmt.Sprintf("%d bytes", len(l.LayerContents()))
}

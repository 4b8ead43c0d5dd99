package dataplane

// Stats returns the link's figures. What was dropped before its link was known
// is in the figures of every link of the port.
func (l *Link) Stats() Stats {
	c, p := &l.counters, l.port
	s := Stats{
		Name:      l.Name(),
		RxPackets: c.rxPackets.Load(), RxBytes: c.rxBytes.Load(),
		TxPackets: c.txPackets.Load(), TxBytes: c.txBytes.Load(),
		Drops: map[string]uint64{},
	}
	c.drops.addTo(s.Drops)
	p.drops.addTo(s.Drops)
	s.Drops[DeviceFull.String()] += l.deviceFull()
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	s.Syscalls = SyscallStats{DevRead: l.device.Reads.Load(), DevWrite: l.device.Writes.Load(), UDPSend: p.sender.Sends.Load()}
	s.Offload = OffloadStats{DevGSO: l.device.GSO.Load(), DevUSO: l.device.USO.Load(), UDPGSO: p.sender.GSO.Load(), TunnelGSO: p.sender.Injected.Load()}
	s.Offload.DevRing = c.ringed.Load()
	s.addShort(l.short)
	for _, at := range []*listener{p.v4, p.v6} {
		if at != nil {
			at.addTo(&s)
		}
	}
	return s
}

// addShort adds what the kernel has carried by itself.
func (s *Stats) addShort(of *short) {
	if of == nil {
		return
	}
	f := of.table.Figures(of.slot)
	s.RxPackets += f.RxPackets
	s.RxBytes += f.RxBytes
	s.TxPackets += f.TxPackets
	s.TxBytes += f.TxBytes
	s.Drops[DeviceFull.String()] += f.TxDropped
	s.Drops[SocketFull.String()] += f.RxDropped
	s.Offload.ShortcutTx, s.Offload.ShortcutRx = f.TxPackets, f.RxPackets
}

// addTo adds what a receiving socket counted.
func (at *listener) addTo(s *Stats) {
	s.Syscalls.UDPRecv += at.Calls.Load()
	s.Offload.UDPGRO += at.GRO.Load()
	at.unseen.addTo(s)
}

// Info returns what the link is and which offloads it has.
func (l *Link) Info() LinkInfo {
	attrs := l.attrs.Load()
	info := LinkInfo{LinkConfig: l.Config(), NetNS: attrs.netns, Index: attrs.index, Features: l.features()}
	info.Name, info.MTU = attrs.name, attrs.mtu
	switch {
	case l.routed == nil:
		info.Address = attrs.mac.String()
	case info.L3:
		info.Address = l.routed.mac.String()
	}
	return info
}

package dataplane

// Stats are a link's figures. Packets and bytes count as the kernel's vxlan
// device counts them: one per frame or super-frame, without the 14 bytes of
// the inner Ethernet header.
type Stats struct {
	Name      string            `json:"name"`
	RxPackets uint64            `json:"rx_packets"`
	RxBytes   uint64            `json:"rx_bytes"`
	TxPackets uint64            `json:"tx_packets"`
	TxBytes   uint64            `json:"tx_bytes"`
	Drops     map[string]uint64 `json:"drops"` // every Reason is present
	Syscalls  SyscallStats      `json:"syscalls"`
	Offload   OffloadStats      `json:"offload"`
}

// SyscallStats count system calls. Those on the device are the link's own;
// those on sockets are the port's, which all its links share.
type SyscallStats struct {
	DevRead  uint64 `json:"dev_read"`
	DevWrite uint64 `json:"dev_write"`
	UDPSend  uint64 `json:"udp_send"`
	UDPRecv  uint64 `json:"udp_recv"`
}

// OffloadStats count how often each offload carried something: 0 means that
// it is off, missing or never engaged.
type OffloadStats struct {
	DevGSO uint64 `json:"dev_gso"` // TCP super-frames read from or written to the device
	DevUSO uint64 `json:"dev_uso"` // UDP super-frames, likewise
	UDPGSO uint64 `json:"udp_gso"` // messages sent with UDP_SEGMENT
	UDPGRO uint64 `json:"udp_gro"` // messages received with several datagrams in one

	TunnelGSO uint64 `json:"tunnel_gso"` // TCP super-frames sent whole, past the sockets

	ShortcutTx uint64 `json:"shortcut_tx"` // frames and super-frames that the kernel sent by itself
	ShortcutRx uint64 `json:"shortcut_rx"` // and received so

	DevRing uint64 `json:"dev_ring"` // datagrams that the device sent in a flood, which came without a system call each
}

// LinkInfo is what `weft link show` tells beyond the configuration.
type LinkInfo struct {
	LinkConfig
	NetNS    uint64            `json:"netns"`    // inode of the namespace the device is in now
	Index    int               `json:"ifindex"`  // there
	Features map[string]string `json:"features"` // offload → "on", or "off (…)" with the reason
}

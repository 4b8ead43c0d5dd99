package dataplane

import (
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"github.com/weftnet/weft/dataplane/internal/tap"
	"golang.org/x/sys/unix"
)

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
	s.Offload = OffloadStats{DevGSO: l.device.GSO.Load(), DevUSO: l.device.USO.Load(), UDPGSO: p.sender.GSO.Load()}
	for _, at := range []*listener{p.v4, p.v6} {
		if at != nil {
			at.addTo(&s)
		}
	}
	return s
}

// addTo adds what a receiving socket counted. The kernel has one number for
// datagrams that found the buffer full and for those with a wrong checksum.
// How many the latter were, it tells for the namespace as a whole; where other
// sockets get bad checksums too, some of these can show as socket_full's.
func (at *listener) addTo(s *Stats) {
	s.Syscalls.UDPRecv += at.Calls.Load()
	s.Offload.UDPGRO += at.GRO.Load()
	drops, err := at.Drops()
	if err != nil {
		return
	}
	bad := min(uint64(drops), at.checksumErrors()-at.checksumErrorsBefore)
	s.Drops[BadChecksum.String()] += bad
	s.Drops[SocketFull.String()] += uint64(drops) - bad
}

// deviceFull returns how many frames the device's queue could not hold before
// the worker read them: the kernel counts them as the device's tx_dropped.
func (l *Link) deviceFull() uint64 {
	name, ns, err := l.where()
	if err != nil {
		return 0
	}
	defer unix.Close(ns)
	handle, err := netlink.NewHandleAt(netns.NsHandle(ns), unix.NETLINK_ROUTE)
	if err != nil {
		return 0
	}
	defer handle.Close()
	link, err := handle.LinkByName(name)
	if err != nil || link.Attrs().Statistics == nil {
		return 0
	}
	return link.Attrs().Statistics.TxDropped
}

// checksumErrors returns the namespace's count of datagrams with a wrong
// checksum, of the listener's family.
func (at *listener) checksumErrors() uint64 {
	text, err := at.snmp.read()
	if err != nil {
		return at.checksumErrorsBefore
	}
	if at.ipv6 {
		return snmp6Value(text, "Udp6InCsumErrors")
	}
	return snmpValue(text, "Udp", "InCsumErrors")
}

// snmpFile is a counter file of the namespace that it was opened in.
type snmpFile struct{ *os.File }

func openSNMP(ipv6 bool) (snmpFile, error) {
	name := "/proc/thread-self/net/snmp"
	if ipv6 {
		name += "6"
	}
	f, err := os.Open(name)
	return snmpFile{f}, err
}

func (f snmpFile) read() (string, error) {
	b := make([]byte, 16<<10)
	n, err := f.ReadAt(b, 0)
	if n > 0 {
		err = nil
	}
	return string(b[:n]), err
}

// snmpValue finds a value in /proc/net/snmp, where a line of names is followed
// by a line of values with the same prefix.
func snmpValue(text, prefix, name string) uint64 {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != prefix+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n == name && i < len(fields) {
				v, _ := strconv.ParseUint(fields[i], 10, 64)
				return v
			}
		}
	}
	return 0
}

// snmp6Value finds a value in /proc/net/snmp6: a name and a value a line.
func snmp6Value(text, name string) uint64 {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == name {
			v, _ := strconv.ParseUint(fields[1], 10, 64)
			return v
		}
	}
	return 0
}

// Info returns what the link is and which offloads it has.
func (l *Link) Info() LinkInfo {
	attrs := l.attrs.Load()
	info := LinkInfo{LinkConfig: l.cfg, NetNS: attrs.netns, Index: attrs.index, Features: l.features()}
	info.Name, info.MTU = attrs.name, attrs.mtu
	info.Address = attrs.mac.String()
	return info
}

// features says of each offload whether it is on, and if not, why.
func (l *Link) features() map[string]string {
	if l.cfg.NoOffload {
		const off = "off (offload off)"
		return map[string]string{"dev_gso": off, "dev_uso": off, "udp_gso": off, "udp_gro": off}
	}
	var offers tap.Offloads
	noGSO, f := false, map[string]string{}
	l.port.loop.do(func() { offers, noGSO = l.device.Offloads(), l.port.sender.NoGSO })
	f["dev_gso"] = availability(offers.TCP, offers.Header, "the kernel refuses TCP super-frames")
	f["dev_uso"] = availability(offers.UDP, offers.Header, "the kernel has no UDP super-frames (before 6.2)")
	f["udp_gso"] = availability(!noGSO, true, "the kernel refused UDP_SEGMENT")
	f["udp_gro"] = "on"
	if gro := l.port.groError(l.cfg.IPv6()); gro != nil {
		f["udp_gro"] = "off (" + gro.Error() + ")"
	}
	return f
}

func availability(on, header bool, why string) string {
	switch {
	case on:
		return "on"
	case !header:
		return "off (the device has no virtio-net header)"
	}
	return "off (" + why + ")"
}

func (p *port) groError(ipv6 bool) error {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	at := p.v4
	if ipv6 {
		at = p.v6
	}
	if at == nil {
		return nil
	}
	return at.gro
}

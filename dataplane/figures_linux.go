//go:build !portable

package dataplane

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/routetable"
)

// kernelDrops tells what the kernel dropped before the worker could see it.
type kernelDrops struct {
	socket *underlay.Receiver
	ipv6   bool
	snmp   snmpFile
	before namespaceDrops // when the socket was opened
}

// namespaceDrops are the namespace's counts of datagrams of one family that
// had a wrong checksum, or found a receive buffer full.
type namespaceDrops struct{ checksum, full uint64 }

func watchDrops(r *underlay.Receiver, ipv6 bool) kernelDrops {
	k := kernelDrops{socket: r, ipv6: ipv6}
	if snmp, err := openSNMP(ipv6); err == nil {
		k.snmp = snmp
		k.before, _ = k.namespace()
	}
	return k
}

func (k *kernelDrops) close() { k.snmp.Close() }

// addTo adds what was dropped. Of a wrong checksum the socket often does not
// learn: the kernel refuses short datagrams, and over IPv6 those without one,
// before it has looked for a socket. It counts them for the namespace, so what
// was sent to other sockets there is among them. Of what the socket does count,
// the rest of the namespace tells which part was no lack of room.
func (k *kernelDrops) addTo(s *Stats) {
	m, err := k.socket.Memory()
	if err != nil {
		return
	}
	full := uint64(m.Dropped)
	if now, err := k.namespace(); err == nil {
		full = min(full, now.full-k.before.full)
		s.Drops[BadChecksum.String()] += now.checksum - k.before.checksum
	}
	s.Drops[SocketFull.String()] += full
}

func (k *kernelDrops) namespace() (namespaceDrops, error) {
	text, err := k.snmp.read()
	if k.ipv6 {
		return namespaceDrops{snmp6Value(text, "Udp6InCsumErrors"), snmp6Value(text, "Udp6RcvbufErrors") + snmp6Value(text, "Udp6MemErrors")}, err
	}
	return namespaceDrops{snmpValue(text, "Udp", "InCsumErrors"), snmpValue(text, "Udp", "RcvbufErrors") + snmpValue(text, "Udp", "MemErrors")}, err
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

// deviceFull returns how many frames the device's queue could not hold before
// the worker read them: the kernel counts them as the device's tx_dropped.
func (l *Link) deviceFull() uint64 {
	name, ns, err := l.where()
	if err != nil {
		return 0
	}
	defer unix.Close(ns)
	handle, err := netlinkIn(ns)
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

// features says of each offload whether it is on, and if not, why.
func (l *Link) features() map[string]string {
	if l.Config().NoOffload {
		f := map[string]string{}
		for _, o := range offloadNames {
			f[o.name] = "off (offload off)"
		}
		return f
	}
	var offers tap.Offloads
	noGSO, f := false, map[string]string{}
	l.port.loop.do(func() { offers, noGSO = l.device.Offloads(), l.port.sender.NoGSO })
	f["dev_gso"] = availability(offers.TCP, offers.Header, "the kernel refuses TCP super-frames")
	f["dev_uso"] = availability(offers.UDP, offers.Header, "the kernel has no UDP super-frames (before 6.2)")
	f["udp_gso"] = availability(!noGSO, true, "the kernel refused UDP_SEGMENT")
	f[tunnelGSOName] = l.tunnelGSO()
	f[shortcutTxName], f[shortcutRxName] = l.shortcuts()
	f[devRingName] = "on"
	f["udp_gro"] = "on"
	if gro := l.port.groError(l.ipv6); gro != nil {
		f["udp_gro"] = "off (" + gro.Error() + ")"
	}
	l.port.explainRefused(f)
	if strings.HasPrefix(f[shortcutTxName], "off") && f[devRingName] == "on" {
		f[devRingName] = "off (it needs " + shortcutTxName + ")" // the program that sends is what uses it
	}
	return f
}

func (p *port) explainRefused(features map[string]string) {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	for _, o := range offloadNames {
		if why := p.refused[o.offload]; why != "" {
			features[o.name] = "off (" + why + ")"
		}
	}
}

// tunnelGSO says whether super-frames are sent whole. That depends on how the
// remote is reached; the default one stands for all.
func (l *Link) tunnelGSO() (word string) {
	s := l.set.Load()
	if s.cfg.Bare() {
		return "off (a link of type udp has no tunnel that a device knows)"
	}
	word = "off (the kernel refused some)"
	l.port.loop.do(func() {
		if !l.port.sender.Injects() {
			return
		}
		word = "on"
		if to := l.someRemote(s); to != nil {
			l.port.lookAtClock()
			if via := l.port.routes.Of(to.Addr, s.cfg.Local, to.IfIndex, l.port.now); via.Whole() != "" {
				word = "off (" + via.Whole() + ")"
			}
		}
	})
	return word
}

// shortcuts says whether busy flows are sent and received by the kernel alone.
func (l *Link) shortcuts() (tx, rx string) {
	switch {
	case l.short == nil:
		tx = "off (there are too many links)"
		rx = tx
	case l.attrs.Load().netns != l.short.home:
		tx = "off (the device is in another namespace than the underlay)"
		rx = tx
	default:
		tx, rx = l.short.table.Without()
		tx, rx = onWithout(tx, l.set.Load().cfg.Bare()), onWithout(rx, false)
	}
	return tx, rx
}

// onWithout is the word for what is on, with what it has to do without.
func onWithout(devices string, toWefts bool) string {
	var but []string
	if toWefts {
		but = append(but, "to peers that are wefts too")
	}
	if devices != "" {
		but = append(but, "without "+devices)
	}
	if but == nil {
		return "on"
	}
	return "on (" + strings.Join(but, "; ") + ")"
}

// someRemote is one that speaks for the others when it is asked how they are
// reached: the default remote, or that of a route. Nil if there is none.
func (l *Link) someRemote(s *settings) *routetable.Remote {
	if l.routed == nil {
		return s.defaultRemote()
	}
	if to := l.routed.routes.Any(); to != nil {
		return &to.Remote
	}
	return nil
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

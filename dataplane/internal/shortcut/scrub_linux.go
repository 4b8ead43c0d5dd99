//go:build !portable

package shortcut

import (
	"encoding/binary"
	"fmt"
	"net"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
)

// scrubber takes the kernel's mark of a tunnelled packet off super-frames that
// arrived whole (skb->encapsulation, and the tunnel's bits of gso_type). A program
// can take outer headers away, but not the mark, and a device that has no offloads
// for tunnels, as a bridge has none, would cut the super-frame: where it is passed
// on, that costs more than all the rest.
//
// The kernel does it in what decapsulates for IPv6 segment routing (End.DX2,
// RFC 8986 §4.9). So the frame gets an IPv6 header instead of the outer ones, and
// goes to the far end of a pair of veth devices, in a namespace where nothing else
// is, no firewall either. There it is routed to that, comes out, and goes on to
// the TAP device:
//
//	underlay ──> d, its peer in the private namespace: End.DX2 ──> d ──> TAP
//
// All of it goes when the process does, since nobody else holds the namespace.
type scrubber struct {
	in        int              // index of the device in the table's namespace; 0 if none was to be had
	name      string           // its name
	refused   string           // why none was
	netlink   *netlink.Handle  // of the table's namespace; the joiner's
	namespace netns.NsHandle   // the private one
	inside    *netlink.Handle  // of the private one
	mac       net.HardwareAddr // of the device there
	link      link.Link
}

// open makes the pair. Where it is not to be had, such super-frames are the
// process's.
func (s *scrubber) open(j *joiner) error {
	s.netlink, s.namespace = j.netlink, netns.None()
	for _, step := range []func() error{s.enter, func() error { return s.create(j) }, s.route} {
		if err := step(); err != nil {
			s.close()
			return fmt.Errorf("a device to scrub super-frames: %w", err)
		}
	}
	return nil
}

// enter makes the private namespace.
func (s *scrubber) enter() error {
	made := make(chan error)
	go func() { made <- s.unshare() }()
	if err := <-made; err != nil {
		return fmt.Errorf("a network namespace for it (CAP_SYS_ADMIN): %w", err)
	}
	var err error
	s.inside, err = netlink.NewHandleAt(s.namespace, unix.NETLINK_ROUTE)
	return err
}

// unshare has a thread make the namespace and come back. One that could not is
// for nobody else, and ends.
func (s *scrubber) unshare() error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer home.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	s.namespace, err = netns.Get()
	if back := netns.Set(home); back != nil {
		return back
	}
	runtime.UnlockOSThread()
	return err
}

// create makes the pair and has what comes out of it go to the links' devices, as
// what comes out of the joiner does.
func (s *scrubber) create(j *joiner) error {
	s.name = j.name + "d"
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = s.name, scrubMTU
	// Of a process that was killed it is there for a moment more.
	if old, err := s.netlink.LinkByName(attrs.Name); err == nil {
		_ = s.netlink.LinkDel(old)
	}
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: scrubPeer, PeerMTU: scrubMTU, PeerNamespace: netlink.NsFd(s.namespace)}
	if err := s.netlink.LinkAdd(pair); err != nil {
		return err
	}
	device, err := s.netlink.LinkByName(attrs.Name)
	if err != nil {
		return err
	}
	s.link, err = link.AttachTCX(link.TCXOptions{Interface: device.Attrs().Index, Program: j.joined.program, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return err
	}
	if err := quietUp(s.netlink, device); err != nil {
		return err
	}
	s.in = device.Attrs().Index
	return nil
}

const (
	scrubPeer = "scrub"
	scrubMTU  = 65535
)

// route has all that comes out of the private end lose its IPv6 header and go back.
func (s *scrubber) route() error {
	device, err := s.inside.LinkByName(scrubPeer)
	if err != nil {
		return err
	}
	if err := quietUp(s.inside, device); err != nil {
		return err
	}
	s.mac = device.Attrs().HardwareAddr
	index := device.Attrs().Index
	decap := &netlink.SEG6LocalEncap{Action: nl.SEG6_LOCAL_ACTION_END_DX2, Oif: index}
	decap.Flags[nl.SEG6_LOCAL_ACTION], decap.Flags[nl.SEG6_LOCAL_OIF] = true, true
	err = s.inside.RouteAdd(&netlink.Route{LinkIndex: index, Dst: &net.IPNet{IP: scrubAddress(2), Mask: net.CIDRMask(128, 128)}, Encap: decap})
	if err != nil {
		return fmt.Errorf("a route that decapsulates (CONFIG_IPV6_SEG6_LWTUNNEL): %w", err)
	}
	return nil
}

// scrubAddress is an address of the private namespace.
func scrubAddress(n byte) net.IP {
	ip := make(net.IP, net.IPv6len)
	ip[0], ip[15] = 0xfd, n
	return ip
}

func (s *scrubber) close() {
	if s.netlink == nil {
		return
	}
	if s.link != nil {
		s.link.Close()
	}
	if s.in != 0 {
		// It may be gone, and its number be another's.
		if device, err := s.netlink.LinkByName(s.name); err == nil && device.Attrs().Index == s.in {
			_ = s.netlink.LinkDel(device)
		}
	}
	if s.inside != nil {
		s.inside.Close()
	}
	if s.namespace.IsOpen() {
		_ = s.namespace.Close()
	}
	*s = scrubber{}
}

// A frame on its way through the private namespace:
//
//	 0          14     54               66    68  70
//	+----------+------+----------------+------+---+-----------+-----------+
//	| Ethernet | IPv6 | the frame's MACs | 8100 | slot | EtherType | IP packet |
//	+----------+------+----------------+------+---+-----------+-----------+
const (
	scrubIP       = int16(encap.EtherHeaderLen)
	scrubInner    = scrubIP + 40
	scrubTag      = scrubInner + 12
	scrubLen      = scrubTag + 6
	scrubOver     = 20  // bytes, see scrub
	etherInIPv6   = 143 // RFC 8986 §10.1
	scrubHopLimit = 64  // any but 0
	tupleLen4     = 12  // struct bpf_sock_tuple: addresses and ports, as they follow each other in a packet
	tupleLen6     = 36
	bpfSockState  = 72                         // offset in struct bpf_sock (linux/bpf.h)
	scrubBuffer   = (int32(scrubLen) + 7) &^ 7 // bytes of stack
)

// template is what the headers have in common.
func (s *scrubber) template() (h [scrubBuffer]byte) {
	copy(h[:], s.mac)
	h[6] = 2 // a local address
	binary.BigEndian.PutUint16(h[12:], 0x86dd)
	h[scrubIP] = 6 << 4
	h[scrubIP+6], h[scrubIP+7] = etherInIPv6, scrubHopLimit
	copy(h[scrubIP+8:], scrubAddress(1))
	copy(h[scrubIP+24:], scrubAddress(2))
	binary.BigEndian.PutUint16(h[scrubTag:], 0x8100)
	return h
}

// scrub gives the packet to the device in place of its outer headers. The inner
// Ethernet header is at etherAt, the size of the IP packet at sizeAt, the index of
// the device at deviceAt, and scrubBuffer bytes of stack at bufferAt are written to.
func (s *scrubber) scrub(a *assembler, etherAt, sizeAt, deviceAt, bufferAt int16) {
	h := s.template()
	for i := int16(0); int32(i) < scrubBuffer; i += 8 {
		a.add(asm.LoadImm(asm.R4, int64(binary.NativeEndian.Uint64(h[i:])), asm.DWord))
		a.store(asm.RFP, bufferAt+i, asm.R4, asm.DWord)
	}
	for i := int16(0); i < 12; i += 2 {
		a.load16(asm.R4, asm.RFP, etherAt+i)
		a.store(asm.RFP, bufferAt+scrubInner+i, asm.R4, asm.Half)
	}
	a.load16(asm.R4, asm.RFP, etherAt+12)
	a.store(asm.RFP, bufferAt+scrubTag+4, asm.R4, asm.Half)
	a.load32(asm.R4, rFlow, flowLink)
	a.add(asm.RSh.Imm(asm.R4, slotShift))
	a.swapped(asm.R4)
	a.store(asm.RFP, bufferAt+scrubTag+2, asm.R4, asm.Half)
	a.load64(asm.R4, asm.RFP, sizeAt)
	a.add(asm.Add.Imm(asm.R4, int32(scrubLen-scrubInner)))
	a.swapped(asm.R4)
	a.store(asm.RFP, bufferAt+scrubIP+4, asm.R4, asm.Half)

	// The kernel has the packet down as IPv6 from here on only if a program takes
	// something away in front of an IPv6 header: so more room is made than there
	// has to be, and the rest taken away again.
	a.room(asm.Instructions{asm.Mov.Imm(asm.R2, int32(scrubLen)+scrubOver-udpAndVXLAN-int32(etherLen)), asm.Sub.Reg(asm.R2, rFirst)}, roomFixedGSO, toWait)
	a.room(asm.Instructions{asm.Mov.Imm(asm.R2, -scrubOver)}, roomFixedGSO|roomDecapIPv6, "spoilt")
	a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Imm(asm.R2, 0), asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, int32(bufferAt)),
		asm.Mov.Imm(asm.R4, int32(scrubLen)), asm.Mov.Imm(asm.R5, 0), asm.FnSkbStoreBytes.Call())
	a.load64(asm.R1, asm.RFP, deviceAt)
	a.add(asm.Mov.Imm(asm.R2, 0), asm.FnRedirectPeer.Call(), asm.Return())
	a.drops("spoilt")
}

// between is where a program goes with what comes between super-frames: it makes
// the same way as they do.
func (s *scrubber) between() string {
	if s.in == 0 {
		return "whole"
	}
	return "super"
}

// passedOn goes elsewhere unless the kernel would pass the packet of TCP on, by its
// routes: unless it is for the link's device, and not for a connection of this
// host. One whose socket is bound to the link's device, or whose addresses are
// translated, is not found, and makes the detour for nothing. The inner Ethernet
// header is at etherAt, and scrubBuffer bytes of stack at tupleAt are written to.
func (t *Table) passedOn(a *assembler, etherAt, tupleAt int16, elsewhere string) {
	t.isMine(a, etherAt, elsewhere)
	a.load16(asm.R4, asm.RFP, etherAt+12)
	a.add(asm.JEq.Imm(asm.R4, network(0x0800), "tuple4"))
	a.innerBytes(8, tupleAt, tupleLen6, elsewhere)
	a.add(asm.Mov.Imm(asm.R3, tupleLen6), asm.Ja.Label("tuple"))
	a.here("tuple4")
	a.innerBytes(12, tupleAt, tupleLen4, elsewhere) // no options, or it finds nothing
	a.add(asm.Mov.Imm(asm.R3, tupleLen4))
	a.here("tuple")
	a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(tupleAt)),
		asm.Mov.Imm(asm.R4, -1), // BPF_F_CURRENT_NETNS
		asm.Mov.Imm(asm.R5, 0), asm.FnSkcLookupTcp.Call(), asm.JEq.Imm(asm.R0, 0, "passed"))
	a.load32(asm.R4, asm.R0, bpfSockState)
	a.store(asm.RFP, tupleAt, asm.R4, asm.DWord)
	a.add(asm.Mov.Reg(asm.R1, asm.R0), asm.FnSkRelease.Call())
	a.load64(asm.R4, asm.RFP, tupleAt)
	a.unless(asm.R4, unix.BPF_TCP_LISTEN, elsewhere) // one that listens on all addresses listens on those of others too
	a.here("passed")
}

// innerBytes copies part of the inner IP header, and what follows, to the stack.
func (a *assembler) innerBytes(from int32, to int16, n int32, elsewhere string) {
	a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Reg(asm.R2, rFirst), asm.Add.Imm(asm.R2, udpAndVXLAN+int32(etherLen)+from),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, int32(to)), asm.Mov.Imm(asm.R4, n), asm.FnSkbLoadBytes.Call())
	a.unless(asm.R0, 0, elsewhere)
}

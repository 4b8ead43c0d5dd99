//go:build !portable

package shortcut

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// cutter is a private device at which the kernel cuts super-frames into datagrams,
// so that a program sees each: the one that is shorter than the others needs
// another outer checksum.
//
//	TAP's egress ──> c (macvlan: cuts) ──> b's egress: checksum ──> underlay device
//
// It lies on one end of the joiner's pair. All of it is one call on one CPU:
// nothing is queued on the way, and no other frame can come between.
type cutter struct {
	in      int       // index of the device that super-frames are given to; 0 without
	mark    uint64    // in place of MAC addresses, by which the program knows its own
	hops    *ebpf.Map // of the super-frame that is being cut on a CPU: where it goes
	program *ebpf.Program
	link    link.Link
}

// What is known of a super-frame that is being cut.
const (
	hopIfIndex = 0  // u32, device to leave by
	hopWhole   = 4  // u32, UDP length of all datagrams but the last
	hopNext    = 8  // struct bpf_redir_neigh, as in sendNextHop
	hopFirst   = 28 // u32, offset of the TCP header in the frame
	hopLen     = 32 // bytes
)

// cutAbove is the size from which the device has super-frames cut: less than any
// has, and not less than the kernel allows to set (MAX_TCP_HEADER).
const cutAbove = 512

// open makes the device on an end of the joiner's pair. Where it is not to be had
// the process cuts such super-frames.
func (c *cutter) open(j *joiner) error {
	for _, step := range []func() error{
		c.load,
		func() error { return c.create(j) },
	} {
		if err := step(); err != nil {
			c.close()
			return fmt.Errorf("a device to cut super-frames: %w", err)
		}
	}
	return nil
}

func (c *cutter) load() (err error) {
	var mark [8]byte
	_, _ = rand.Read(mark[:])
	mark[0] &^= 1 // no group address: what is for one cannot be given to a next hop
	c.mark = binary.NativeEndian.Uint64(mark[:])
	c.hops, err = ebpf.NewMap(&ebpf.MapSpec{Name: "weft_hops", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: hopLen, MaxEntries: 1})
	if err != nil {
		return err
	}
	c.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "weft_cut", Type: ebpf.SchedCLS, Instructions: c.cutProgram()})
	return err
}

// create makes the device; it goes with the pair.
func (c *cutter) create(j *joiner) error {
	lower, err := j.netlink.LinkByName(j.name + "b")
	if err != nil {
		return err
	}
	c.link, err = link.AttachTCX(link.TCXOptions{Interface: lower.Attrs().Index, Program: c.program, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = j.name+"c", lower.Attrs().Index
	if err := j.netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_PRIVATE}); err != nil {
		return err
	}
	device, err := j.netlink.LinkByName(attrs.Name)
	if err != nil {
		return err
	}
	// A macvlan device's segmentation offloads cannot be switched off; a limit
	// comes to the same.
	if err := j.netlink.LinkSetGSOMaxSize(device, cutAbove); err != nil {
		return err
	}
	// Fails where there is no IPv6.
	_ = j.netlink.LinkSetIP6AddrGenMode(device, addrGenModeNone)
	if err := j.netlink.LinkSetUp(device); err != nil {
		return err
	}
	c.in = device.Attrs().Index
	return nil
}

func (c *cutter) close() {
	if c.link != nil {
		c.link.Close()
	}
	if c.program != nil {
		c.program.Close()
	}
	if c.hops != nil {
		c.hops.Close()
	}
	*c = cutter{}
}

// cut gives a super-frame that has its outer headers to the device.
func (c *cutter) cut(a *assembler) {
	a.clear(sendHopAt, 8)
	a.hop(c.hops, sendHopAt, "lost")
	a.load32(asm.R1, rFlow, flowIfIndex)
	a.store(asm.R0, hopIfIndex, asm.R1, asm.Word)
	a.load64(asm.R1, asm.RFP, sendSegAt)
	a.add(asm.Add.Imm(asm.R1, udpAndVXLAN))
	a.store(asm.R0, hopWhole, asm.R1, asm.Word)
	a.store(asm.R0, hopFirst, rFirst, asm.Word)
	for i := int16(0); i < nextHopLen; i += 4 {
		a.load32(asm.R1, rFlow, sendNextHop+i)
		a.store(asm.R0, hopNext+i, asm.R1, asm.Word)
	}
	a.add(asm.Mov.Imm(asm.R1, int32(c.in)), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return())
	a.here("lost")
	a.add(asm.Mov.Imm(asm.R0, drop), asm.Return())
}

// hop has what is known of the super-frame being cut in R0. The key, zero, is on
// the stack.
func (a *assembler) hop(hops *ebpf.Map, keyAt int32, without string) {
	a.add(asm.LoadMapPtr(asm.R1, hops.FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, keyAt),
		asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, without))
}

// cutProgram runs on each datagram of a super-frame that was cut, and gives it to
// the underlay device.
func (c *cutter) cutProgram() asm.Instructions {
	const keyAt, checksumAt = -8, -16
	a := &assembler{}
	a.add(asm.Mov.Reg(rSkb, asm.R1))
	a.load32(rData, rSkb, skbData)
	a.need(outer4)
	a.load64(asm.R4, rData, 0)
	a.add(asm.LoadImm(asm.R5, int64(c.mark), asm.DWord), asm.JNE.Reg(asm.R4, asm.R5, toUnknown))
	a.clear(keyAt, 8)
	a.hop(c.hops, keyAt, toUnknown)
	a.add(asm.Mov.Reg(rFlow, asm.R0), asm.Mov.Imm(rFirst, int32(etherLen)+20))
	a.load16(asm.R4, rData, 12)
	a.unless(asm.R4, network(0x86dd), "udp")
	a.need(outer6)
	a.add(asm.Mov.Imm(rFirst, int32(etherLen)+40))
	a.here("udp")
	a.add(asm.Mov.Reg(asm.R2, rData), asm.Add.Reg(asm.R2, rFirst))
	cutChecksum(a)
	a.store(asm.RFP, checksumAt, asm.R5, asm.Half)
	a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Reg(asm.R2, rFirst), asm.Add.Imm(asm.R2, 6), asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, checksumAt), asm.Mov.Imm(asm.R4, 2), asm.Mov.Imm(asm.R5, 0), asm.FnSkbStoreBytes.Call())
	a.here("right")
	a.add(asm.StoreImm(rSkb, skbQueueMapping, 0, asm.Word))
	a.sendTo(rFlow, hopIfIndex, hopNext)
	a.here(toUnknown) // a neighbour's question, say
	a.add(asm.Mov.Imm(asm.R0, drop), asm.Return())
	return a.list
}

// cutChecksum has the checksum of the datagram in R5 whose UDP header R2 points
// to, or goes to right. Its length differs from that of the others. What is summed
// up grows with it twice, by the UDP length and that of the pseudo-header; around
// an inner IPv4 packet it shrinks once (see sendChecksum).
func cutChecksum(a *assembler) {
	a.load16(asm.R1, asm.R2, 4)
	a.swapped(asm.R1)
	a.load32(asm.R3, rFlow, hopWhole)
	a.add(asm.JEq.Reg(asm.R1, asm.R3, "right"))
	a.load16(asm.R5, asm.R2, 6)
	a.add(asm.JEq.Imm(asm.R5, 0, "right")) // without a checksum
	a.swapped(asm.R5)
	a.add(asm.Xor.Imm(asm.R3, 0xffff), asm.Add.Reg(asm.R1, asm.R3), asm.Xor.Imm(asm.R5, 0xffff), asm.Add.Reg(asm.R5, asm.R1))
	a.load32(asm.R4, rFlow, hopFirst)
	a.add(asm.JEq.Imm(asm.R4, int32(etherLen)+20, "complete"), asm.Add.Reg(asm.R5, asm.R1))
	a.here("complete")
	a.checksum("checksum")
}

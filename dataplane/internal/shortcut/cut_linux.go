//go:build !portable

package shortcut

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
)

// cutter is a private device at which the kernel cuts super-frames into datagrams,
// so that a program sees each: the one that is shorter than the others needs
// another outer checksum.
//
//	TAP's egress ──> c (macvlan: cuts) ──> b's egress: checksum ──> underlay device
//
// Received runs of datagrams are cut there too, since no program can take one apart:
//
//	underlay ──> c (macvlan: cuts) ──> b's egress: takes outer headers off ──> TAP
//
// It lies on one end of the joiner's pair. All of it is one call on one CPU:
// nothing is queued on the way, and no other frame can come between.
type cutter struct {
	in      int       // index of the device that super-frames are given to; 0 if none was to be had
	refused string    // why none was
	lower   int       // of the device below it, which they leave by
	mark    uint64    // in place of MAC addresses, by which the program knows its own
	hops    *ebpf.Map // of the super-frame that is being cut on a CPU: where it goes
	send    attachment
	receive attachment
}

// What is known of a super-frame that is being cut.
const (
	hopIfIndex = 0  // u32, device to leave by
	hopWhole   = 4  // u32, UDP length of all datagrams but the last
	hopNext    = 8  // struct bpf_redir_neigh, as in sendNextHop
	hopInner   = 28 // u32, bytes of the inner IP header
	hopLen     = 32 // bytes
)

// From cutAbove bytes on, or with more than cutSegments segments if a program has
// not changed the packet, the device has it cut. Super-frames are larger, and
// the kernel does not take less (MAX_TCP_HEADER); a run of datagrams may be shorter.
const (
	cutAbove    = 512
	cutSegments = 1
)

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
	return c.send.load("weft_cut", c.cutProgram())
}

// create makes the device; it goes with the pair.
func (c *cutter) create(j *joiner) error {
	lower, err := j.netlink.LinkByName(j.name + "b")
	if err != nil {
		return err
	}
	c.lower = lower.Attrs().Index
	if err := c.send.attach(c.lower, ebpf.AttachTCXEgress); err != nil {
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
	// A macvlan device's segmentation offloads cannot be switched off; limits come to
	// the same.
	if err := j.netlink.LinkSetGSOMaxSize(device, cutAbove); err != nil {
		return err
	}
	if err := j.netlink.LinkSetGSOMaxSegs(device, cutSegments); err != nil {
		return err
	}
	if err := quietUp(j.netlink, device); err != nil {
		return err
	}
	c.in = device.Attrs().Index
	return nil
}

func (c *cutter) close() {
	c.send.close()
	c.receive.close()
	if c.hops != nil {
		c.hops.Close()
	}
	*c = cutter{}
}

// cut gives a super-frame that has its outer headers to the device.
func (c *cutter) cut(a *sender) {
	a.clear(sendHopAt, 8)
	a.hop(c.hops, sendHopAt, "lost")
	a.load32(asm.R1, rFlow, flowIfIndex)
	a.store(asm.R0, hopIfIndex, asm.R1, asm.Word)
	a.load64(asm.R1, asm.RFP, sendSegAt)
	a.add(asm.Add.Imm(asm.R1, a.over()))
	a.store(asm.R0, hopWhole, asm.R1, asm.Word)
	a.add(asm.Mov.Reg(asm.R1, rFirst))
	a.packetLen(asm.R1)
	a.store(asm.R0, hopInner, asm.R1, asm.Word)
	for i := int16(0); i < nextHopLen; i += 4 {
		a.load32(asm.R1, rFlow, sendNextHop+i)
		a.store(asm.R0, hopNext+i, asm.R1, asm.Word)
	}
	a.load64(asm.R1, asm.RFP, sendCutAt)
	a.add(asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return())
	a.drops("lost")
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
	a.need(int32(etherLen) + 20 + udpMin + 20)
	a.load64(asm.R4, rData, 0)
	a.add(asm.LoadImm(asm.R5, int64(c.mark), asm.DWord), asm.JNE.Reg(asm.R4, asm.R5, toUnknown))
	a.clear(keyAt, 8)
	a.hop(c.hops, keyAt, toUnknown)
	a.add(asm.Mov.Reg(rFlow, asm.R0), asm.Mov.Imm(rFirst, int32(etherLen)+20))
	a.load16(asm.R4, rData, 12)
	a.unless(asm.R4, network(0x86dd), "udp")
	a.need(int32(etherLen) + 40 + udpMin + 20)
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
	a.here(toUnknown) // a received run's
	a.passes()
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
	a.load32(asm.R4, rFlow, hopInner)
	a.add(asm.JEq.Imm(asm.R4, 20, "complete"), asm.Add.Reg(asm.R5, asm.R1))
	a.here("complete")
	a.checksum("checksum")
}

// maxRuns is how many runs of a station the kernel cuts within a Lease. A weft that
// sends past its process too sends few: what it has not told of yet. One that sends
// nothing but runs is better served by the process: the kernel has each datagram wait
// in the backlog of a core, which is short.
const maxRuns = 128

// runsFor is how long a station is left to the process after a run that was. One in a
// flood sends thousands a second.
const runsFor = 100 * time.Millisecond

// cutRun gives a received run to the device. Where there is none, or after too many,
// the process takes it apart, and a station whose datagrams arrive now in runs and
// now alone is its for a while: what a program gives to the TAP device waits in the
// backlog, and what is left to the process may overtake it there.
func (t *Table) cutRun(a *assembler) {
	a.load64(asm.R1, asm.RFP, receiveTimeAt)
	if t.cutter.in != 0 {
		t.device(a, asm.R5, wordCutter)
		a.add(asm.JEq.Imm(asm.R5, 0, "many"))
		a.load64(asm.R2, rFlow, receiveRuns)
		a.add(asm.JGE.Reg(asm.R2, asm.R1, "after"), asm.Mov.Reg(asm.R2, asm.R1))
		a.here("after")
		a.add(asm.Mov.Reg(asm.R3, asm.R2), asm.Sub.Reg(asm.R3, asm.R1), asm.JGT.Imm(asm.R3, int32(Lease), "many"))
		a.add(asm.Add.Imm(asm.R2, int32(Lease/maxRuns)))
		a.store(rFlow, receiveRuns, asm.R2, asm.DWord)
		a.add(asm.Mov.Reg(asm.R1, asm.R5), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return())
		a.here("many")
	}
	a.add(asm.Add.Imm(asm.R1, int32(runsFor)))
	a.store(rFlow, flowWaited, asm.R1, asm.DWord)
	a.add(asm.Ja.Label(toUnknown))
}

// receiveRuns has the datagrams of runs taken in where they come out.
func (t *Table) receiveRuns() error {
	if t.cutter.in == 0 {
		return nil
	}
	if err := t.cutter.receive.load("weft_run", t.runProgram()); err != nil {
		return explain("load a BPF program", err)
	}
	return t.cutter.receive.attach(t.cutter.lower, ebpf.AttachTCXEgress)
}

// runProgram runs on each datagram of a received run that was cut. One that is left
// to the process goes back to the underlay device, alone.
func (t *Table) runProgram() asm.Instructions {
	a := &assembler{}
	a.add(asm.Mov.Reg(rSkb, asm.R1))
	a.load32(asm.R2, rSkb, skbIngress)
	a.add(asm.JEq.Imm(asm.R2, 0, "stray"))
	a.load32(asm.R2, rSkb, skbGSOSize)
	a.unless(asm.R2, 0, "stray") // somebody has changed the device, and it would be cut for ever
	t.receiveBy(a, func(a *assembler) { a.add(asm.Ja.Label("stray")) })
	t.leaveReceived(a, true)
	a.load32(asm.R1, rSkb, skbIngress)
	a.add(asm.Mov.Imm(asm.R2, intoDevice), asm.FnRedirect.Call(), asm.Return())
	a.drops("stray") // a neighbour's question, say
	return a.list
}

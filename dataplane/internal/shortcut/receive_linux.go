//go:build !portable

package shortcut

import (
	"time"

	"github.com/cilium/ebpf/asm"
)

// The stack of the program that receives.
const (
	receiveKeyAt  = -receiveKeyLen
	receiveTimeAt = receiveKeyAt - 8
	receiveECNAt  = receiveTimeAt - 8  // u64, of the outer header
	receiveSizeAt = receiveECNAt - 8   // u64, bytes to count
	receiveFigure = receiveSizeAt - 8  // u32, the key of the figures
	receiveEther  = receiveFigure - 24 // the inner Ethernet header, and bareHeld bytes of a bare packet
	receiveJoin   = receiveEther - 8   // u64, index of the device that joins segments, or 0
	receiveScrub  = receiveJoin - 8    // u64, index of the device by which it is scrubbed, or 0
	receiveRun    = receiveScrub - 8   // u64, not 0 if it is a run of datagrams
	receiveProto  = receiveRun - 8     // u64, of the inner packet
	receiveBuffer = receiveProto - int16(scrubBuffer)
)

// receiveProgram runs on what an underlay device receives.
func (t *Table) receiveProgram() asm.Instructions {
	a := &assembler{}
	a.add(asm.Mov.Reg(rSkb, asm.R1))
	t.receiveBy(a, t.cutRun)
	t.leaveReceived(a, false)
	a.passes()
	return a.list
}

// leaveReceived leaves a packet to the socket, or to be received again.
func (t *Table) leaveReceived(a *assembler, again bool) {
	a.leave(&leaving{t.slots, t.figures, receiveQueue, receiveTimeAt, receiveProto, receiveFigure, figureRxDropped, again})
}

// receiveBy takes a packet in, or goes to where it is left to the process. A run
// of datagrams is what run makes of it.
func (t *Table) receiveBy(a *assembler, run func(*assembler)) {
	a.load32(asm.R2, rSkb, skbVLANPresent)
	a.unless(asm.R2, 0, toUnknown)
	a.load32(asm.R2, rSkb, skbPacketType)
	a.unless(asm.R2, 0, toUnknown) // of another machine, and seen by promiscuity
	a.load32(rData, rSkb, skbData)
	a.need(int32(etherLen) + 20)
	a.clear(receiveKeyAt, receiveKeyLen)
	a.load16(asm.R4, rData, 12)
	a.add(asm.JEq.Imm(asm.R4, network(0x0800), "outer4"))
	a.unless(asm.R4, network(0x86dd), toUnknown)
	outer6Headers(a)
	outer4Headers(a)
	a.here("found")
	a.find(t.receives, receiveKeyAt, receiveTimeAt)
	t.innerPacket(a)
	a.load64(asm.R0, asm.RFP, receiveTimeAt)
	a.holds(t.slots, t.grants, receiveQueue)
	a.load64(asm.R3, asm.RFP, receiveECNAt)
	a.add(asm.And.Imm(asm.R3, 1))
	a.unless(asm.R3, 0, toWait) // ECT(1) or CE: goes into the inner header (RFC 6040 §4.2)
	a.load64(asm.R3, asm.RFP, receiveRun)
	a.add(asm.JEq.Imm(asm.R3, 0, "packet"))
	run(a)
	a.here("packet")
	t.receiveIn(a)
}

// What has to be there behind the outer IP header: UDP and the least inner IP
// header; with VXLAN, and the inner Ethernet header, in between.
const (
	bareMin  = udpLen + 20
	innerMin = udpAndVXLAN + 14 + 20
)

func outer4Headers(a *assembler) {
	a.here("outer4")
	a.load8(asm.R4, rData, etherLen+9)
	a.unless(asm.R4, 17, toUnknown)
	a.pull(int32(etherLen)+20+bareMin, "pulled4")
	a.load8(asm.R4, rData, etherLen)
	a.unless(asm.R4, 0x45, toUnknown)
	outer4Sum(a)
	a.load16(asm.R4, rData, etherLen+2)
	a.fills(int32(etherLen))
	a.load16(asm.R4, rData, etherLen+6)
	a.add(asm.And.Imm(asm.R4, network(0x3fff)))
	a.unless(asm.R4, 0, toUnknown)
	a.load8(asm.R4, rData, etherLen+9)
	a.unless(asm.R4, 17, toUnknown)
	a.load8(asm.R5, rData, etherLen+1)
	a.store(asm.RFP, receiveECNAt, asm.R5, asm.DWord)
	a.copy32(receiveKeyAt+receiveKeySrc, etherLen+12, 1)
	a.copy32(receiveKeyAt+receiveKeyDst, etherLen+16, 1)
	udpAndInner(a, etherLen+20, "4")
}

func outer6Headers(a *assembler) {
	a.load8(asm.R4, rData, etherLen+6)
	a.unless(asm.R4, 17, toUnknown)
	a.pull(int32(etherLen)+40+bareMin, "pulled6")
	a.load8(asm.R4, rData, etherLen)
	a.add(asm.RSh.Imm(asm.R4, 4))
	a.unless(asm.R4, 6, toUnknown)
	a.load16(asm.R4, rData, etherLen+4)
	a.fills(int32(etherLen) + 40)
	a.load16(asm.R4, rData, etherLen+40+6)
	a.add(asm.JEq.Imm(asm.R4, 0, toUnknown)) // without a checksum: only the socket knows whether that may be
	a.load8(asm.R4, rData, etherLen+6)
	a.unless(asm.R4, 17, toUnknown)
	a.load8(asm.R5, rData, etherLen+1)
	a.add(asm.RSh.Imm(asm.R5, 4))
	a.store(asm.RFP, receiveECNAt, asm.R5, asm.DWord)
	a.copy32(receiveKeyAt+receiveKeySrc, etherLen+8, 8)
	udpAndInner(a, etherLen+40, "6")
	a.add(asm.Ja.Label("found"))
}

// outer4Sum goes to unknown if the header does not add up.
func outer4Sum(a *assembler) {
	a.load32(asm.R4, rData, etherLen)
	for i := int16(4); i < 20; i += 4 {
		a.load32(asm.R3, rData, etherLen+i)
		a.add(asm.Add.Reg(asm.R4, asm.R3))
	}
	a.add(asm.Mov.Reg(asm.R3, asm.R4), asm.RSh.Imm(asm.R3, 32), asm.Mov.Reg32(asm.R4, asm.R4), asm.Add.Reg(asm.R4, asm.R3))
	a.fold(asm.R4, asm.R3)
	a.fold(asm.R4, asm.R3)
	a.unless(asm.R4, 0xffff, toUnknown)
}

// fills goes to unknown unless the length in R4, as it was found in the packet,
// is that of all from at on: the kernel drops, or cuts, what is otherwise.
func (a *assembler) fills(at int32) {
	a.swapped(asm.R4)
	a.add(asm.Add.Imm(asm.R4, at))
	a.load32(asm.R3, rSkb, skbLen)
	a.add(asm.JNE.Reg(asm.R3, asm.R4, toUnknown))
}

// udpAndInner reads what is at udp and behind. All bits of a VXLAN header but the
// VNI are as they have to be (RFC 7348 §5), or the process looks at it; and no IP
// header begins like that.
//
// rFirst is where UDP would be if there were a VXLAN header and an Ethernet header
// in front of the inner packet: of a bare one it lies in the outer IP header.
func udpAndInner(a *assembler, udp int16, label string) {
	a.load16(asm.R4, rData, udp+2)
	a.store(asm.RFP, receiveKeyAt+receiveKeyPort, asm.R4, asm.Half)
	a.load16(asm.R4, rData, udp+4)
	a.fills(int32(udp))
	a.load32(asm.R4, rData, udp+8)
	a.add(asm.JEq.Imm(asm.R4, network32(0x08000000), "vxlan"+label))
	a.load8(asm.R4, rData, udp+8)
	a.add(asm.RSh.Imm(asm.R4, 4), asm.JEq.Imm(asm.R4, 4, "bare"+label))
	a.unless(asm.R4, 6, toUnknown)
	a.here("bare" + label)
	a.add(asm.Mov.Imm(asm.R4, network32(bareVNI)))
	a.store(asm.RFP, receiveKeyAt+receiveKeyVNI, asm.R4, asm.Word)
	a.add(asm.Mov.Imm(rFirst, int32(udp)-(innerMin-bareMin)), asm.Ja.Label("found"))

	a.here("vxlan" + label)
	a.pull(int32(udp)+innerMin, "pulled"+label+"vxlan")
	a.load8(asm.R4, rData, udp+15)
	a.unless(asm.R4, 0, toUnknown)
	a.copy32(receiveKeyAt+receiveKeyVNI, udp+12, 1)
	a.copy32(receiveKeyAt+receiveKeyMAC, udp+22, 1)
	a.load16(asm.R4, rData, udp+26)
	a.store(asm.RFP, receiveKeyAt+receiveKeyMAC+4, asm.R4, asm.Half)
	a.add(asm.Mov.Imm(rFirst, int32(udp)))
}

// innerPacket waits unless the inner packet is one of IP that fills the outer
// one, or the first of a run of datagrams, as a process sends them or UDP_GRO joins
// them. A run with TCP inside is left to the process, which makes a super-frame of
// it; unless the first of it says that it is all of it, which no sender of good will
// has it say.
func (t *Table) innerPacket(a *assembler) {
	a.clear(receiveRun, 8)
	a.add(asm.Mov.Reg(asm.R2, rData), asm.Add.Reg(asm.R2, rFirst))
	t.innerEther(a)
	a.load8(asm.R3, asm.R2, udpAndVXLAN+14)
	a.add(asm.RSh.Imm(asm.R3, 4))
	a.add(asm.JEq.Imm(asm.R4, network(0x0800), "inner4"))
	a.unless(asm.R4, network(0x86dd), toWait)
	a.unless(asm.R3, 6, toWait)
	a.load8(asm.R5, asm.R2, udpAndVXLAN+14+6)
	a.load16(asm.R4, asm.R2, udpAndVXLAN+14+4)
	a.swapped(asm.R4)
	a.add(asm.Add.Imm(asm.R4, 40), asm.Ja.Label("length"))

	a.here("inner4")
	a.unless(asm.R3, 4, toWait)
	a.load8(asm.R5, asm.R2, udpAndVXLAN+14+9)
	a.load16(asm.R4, asm.R2, udpAndVXLAN+14+2)
	a.swapped(asm.R4)

	a.here("length")
	a.store(asm.RFP, receiveProto, asm.R5, asm.DWord)
	a.store(asm.RFP, receiveSizeAt, asm.R4, asm.DWord)
	a.add(asm.Add.Reg(asm.R4, rFirst), asm.Add.Imm(asm.R4, udpAndVXLAN+14))
	a.load32(asm.R3, rSkb, skbLen)
	a.add(asm.JEq.Reg(asm.R3, asm.R4, "filled"))
	a.add(asm.JEq.Imm(asm.R5, 6, toWait))
	a.load32(asm.R3, rSkb, skbGSOSegs)
	a.add(asm.JLE.Imm(asm.R3, cutSegments, toWait), asm.Mov.Imm(asm.R3, 1))
	a.store(asm.RFP, receiveRun, asm.R3, asm.DWord)
	a.add(asm.Ja.Label("whole"))
	a.here("filled")
	t.join(a)
}

// innerEther has the inner Ethernet header on the stack, and its EtherType in R4,
// rFirst being in R2. A bare packet gets one for the devices on its way, without
// MACs. It waits unless a frame for a link that carries IP packets has the link's
// MAC.
func (t *Table) innerEther(a *assembler) {
	a.load32(asm.R4, asm.RFP, receiveKeyAt+receiveKeyVNI)
	a.unless(asm.R4, network32(bareVNI), "framed")
	a.clear(receiveEther, 16)
	for i := int16(0); i < bareHeld; i += 2 {
		a.load16(asm.R4, asm.R2, udpAndVXLAN+14+i)
		a.store(asm.RFP, receiveEther+14+i, asm.R4, asm.Half)
	}
	a.load8(asm.R3, asm.R2, udpAndVXLAN+14)
	a.add(asm.RSh.Imm(asm.R3, 4), asm.Mov.Imm(asm.R4, network(0x0800)), asm.JEq.Imm(asm.R3, 4, "bare"), asm.Mov.Imm(asm.R4, network(0x86dd)))
	a.here("bare")
	a.store(asm.RFP, receiveEther+12, asm.R4, asm.Half)
	a.add(asm.Ja.Label("ether"))

	a.here("framed")
	for i := int16(0); i < 12; i += 4 {
		a.load32(asm.R4, asm.R2, udpAndVXLAN+i)
		a.store(asm.RFP, receiveEther+i, asm.R4, asm.Word)
	}
	a.load16(asm.R4, asm.R2, udpAndVXLAN+12)
	a.store(asm.RFP, receiveEther+12, asm.R4, asm.Half)
	a.load32(asm.R3, rFlow, receiveMine)
	a.add(asm.JEq.Imm(asm.R3, 0, "ether"), asm.Mov.Reg(asm.R5, asm.R2))
	t.isMine(a, receiveEther, toWait)
	a.add(asm.Mov.Reg(asm.R2, asm.R5))
	a.load16(asm.R4, asm.RFP, receiveEther+12)
	a.here("ether")
}

// isMine goes elsewhere unless the frame whose Ethernet header is on the stack is
// for the link's MAC.
func (t *Table) isMine(a *assembler, etherAt int16, elsewhere string) {
	a.slot(t.slots, flowLink)
	a.load64(asm.R3, asm.R1, wordMAC*8)
	a.load32(asm.R4, asm.RFP, etherAt)
	a.load16(asm.R0, asm.RFP, etherAt+4)
	a.add(asm.LSh.Imm(asm.R0, 32), asm.Or.Reg(asm.R4, asm.R0), asm.JNE.Reg(asm.R3, asm.R4, elsewhere))
}

// join decides whether the packet, whose protocol is in R5, is to be joined
// with others.
func (t *Table) join(a *assembler) {
	a.clear(receiveScrub, 16)
	a.load64(asm.R1, asm.RFP, receiveTimeAt)
	a.load32(asm.R3, rSkb, skbGSOSize)
	a.add(asm.JEq.Imm(asm.R3, 0, "single"))
	a.unless(asm.R5, 6, toWait)
	a.store(rFlow, receiveWhole, asm.R1, asm.DWord)
	a.add(asm.Ja.Label("super"))

	// A TCP segment that is worth it is joined with others, but not where the
	// wire carries super-frames: they are joined already, and must not be
	// overtaken by, or overtake, what lies between them.
	a.here("single")
	a.unless(asm.R5, 6, "whole")
	a.load64(asm.R2, rFlow, receiveWhole)
	a.add(asm.Sub.Reg(asm.R1, asm.R2), asm.JLT.Imm(asm.R1, int32(wholeFor), t.scrubber.between()))
	a.load64(asm.R3, asm.RFP, receiveTimeAt)
	a.load64(asm.R1, asm.RFP, receiveSizeAt)
	a.add(asm.JGT.Imm(asm.R1, joinMin, "join"))
	a.load64(asm.R2, rFlow, receiveJoined) // a short one stays behind those that are being joined
	a.add(asm.Sub.Reg(asm.R3, asm.R2), asm.JGE.Imm(asm.R3, int32(joinFor), "whole"), asm.Add.Reg(asm.R3, asm.R2))
	a.here("join")
	a.store(rFlow, receiveJoined, asm.R3, asm.DWord)
	t.device(a, asm.R1, wordJoiner)
	a.store(asm.RFP, receiveJoin, asm.R1, asm.DWord)
	a.add(asm.Ja.Label("whole"))
	t.super(a)
	a.here("whole")
}

// super decides about a super-frame: the process makes a new one of it, unless it
// can be scrubbed or need not be.
func (t *Table) super(a *assembler) {
	a.here("super")
	t.passedOn(a, receiveEther, receiveBuffer, "whole")
	if t.scrubber.in == 0 {
		a.add(asm.Ja.Label(toWait))
		return
	}
	t.device(a, asm.R1, wordScrubber)
	a.store(asm.RFP, receiveScrub, asm.R1, asm.DWord)
	a.unless(asm.R1, 0, "whole")
	a.load32(asm.R3, rSkb, skbGSOSize)
	a.unless(asm.R3, 0, toWait)
}

const (
	joinMin  = 80               // bytes of IP packet that an acknowledgement alone does not have
	joinFor  = time.Millisecond // by then what was given to be joined has come out
	wholeFor = time.Second      // a super-frame's station is taken to send more of them
)

// receiveIn takes the outer headers off and gives the frame to the TAP device.
func (t *Table) receiveIn(a *assembler) {
	if t.scrubber.in != 0 {
		a.load64(asm.R1, asm.RFP, receiveScrub)
		a.add(asm.JEq.Imm(asm.R1, 0, "plain"))
		a.count(t.figures, figureRx, receiveFigure, receiveSizeAt, "scrub")
		t.scrubber.scrub(a, receiveEther, receiveSizeAt, receiveScrub, receiveBuffer)
		a.here("plain")
	}
	takeOff(a, "torn")
	a.count(t.figures, figureRx, receiveFigure, receiveSizeAt, "counted")
	a.load64(asm.R1, asm.RFP, receiveJoin)
	a.add(asm.JEq.Imm(asm.R1, 0, "straight"))
	a.load32(asm.R3, rFlow, flowLink)
	a.add(asm.RSh.Imm(asm.R3, slotShift), asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Imm(asm.R2, network(0x8100)), asm.FnSkbVlanPush.Call())
	a.load64(asm.R1, asm.RFP, receiveJoin)
	a.add(asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return())
	a.here("straight")
	a.load32(asm.R1, rFlow, flowIfIndex)
	a.add(asm.Mov.Imm(asm.R2, intoDevice), asm.FnRedirect.Call(), asm.Return())
	a.here("torn")
	a.countOne(t.figures, figureRxDropped, receiveFigure, "lost")
	a.drops("lost")
}

// bareHeld is how many bytes of a bare packet are taken off with the outer headers, and
// put back. The kernel notes where a checksum is that is still to be put in, which is
// the outer one where a socket on this machine, or behind a virtual device, has sent
// the datagram. It forgets that where so much is taken off that the place lies
// before the packet. Outer headers alone are too little: the place comes to
// lie in the Ethernet header. The inner packet would be taken for an unfinished one,
// and to translate its addresses would spoil its checksum, which is whole.
const bareHeld = 8

// roomMax is less than the length from which on the kernel makes no room in a packet
// that is not a super-frame (BPF_SKB_MAX_LEN, with pages of 4 KB), and such a packet is
// left whole to the process.
const roomMax = 16000

// takeOff has the inner Ethernet header in place of the outer headers, or goes
// elsewhere with a packet that is not whole.
func takeOff(a *assembler, elsewhere string) {
	a.add(asm.LoadImm(asm.R4, roomFixedGSO|roomDecapIPv4, asm.DWord))
	a.load16(asm.R3, asm.RFP, receiveEther+12)
	a.add(asm.JEq.Imm(asm.R3, network(0x0800), "decap"), asm.LoadImm(asm.R4, roomFixedGSO|roomDecapIPv6, asm.DWord))
	a.here("decap")
	a.add(asm.Mov.Imm(asm.R2, -udpAndVXLAN), asm.Sub.Reg(asm.R2, rFirst), asm.Mov.Imm(rFirst, 14))
	a.load32(asm.R1, asm.RFP, receiveKeyAt+receiveKeyVNI)
	a.unless(asm.R1, network32(bareVNI), "headers")
	a.add(asm.Sub.Imm(asm.R2, bareHeld), asm.Mov.Imm(rFirst, 14+bareHeld))
	a.load32(asm.R5, rSkb, skbGSOSize)
	a.unless(asm.R5, 0, "headers")
	a.load32(asm.R5, rSkb, skbLen)
	a.add(asm.JGT.Imm(asm.R5, roomMax, toWait))
	a.here("headers")
	a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Imm(asm.R3, roomBehindMAC), asm.FnSkbAdjustRoom.Call())
	a.unless(asm.R0, 0, toWait)
	a.add(asm.JEq.Imm(rFirst, 14, "taken"))
	a.room(asm.Instructions{asm.Mov.Imm(asm.R2, bareHeld)}, roomFixedGSO, elsewhere)
	a.here("taken")
	put := func(at, size, flags int32) {
		a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Imm(asm.R2, at), asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, receiveEther+at),
			asm.Mov.Imm(asm.R4, size), asm.Mov.Imm(asm.R5, flags), asm.FnSkbStoreBytes.Call())
	}
	put(0, 14, 0) // no card's sum has an Ethernet header in it
	a.add(asm.JEq.Imm(rFirst, 14, "complete"))
	put(14, bareHeld, recomputeSum)
	a.here("complete")
}

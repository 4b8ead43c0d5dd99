//go:build !portable

package shortcut

import (
	"github.com/cilium/ebpf/asm"

	"github.com/weftnet/weft/encap"
)

// The stack of the program that sends.
const (
	sendKeyAt    = -sendKeyLen
	sendTimeAt   = sendKeyAt - 8
	sendInnerAt  = sendTimeAt - 8   // u32, see innerWord
	sendECNAt    = sendInnerAt + 4  // u32, the ECN bits that innerWord leaves out
	sendSizeAt   = sendInnerAt - 8  // u64, bytes to count
	sendLenAt    = sendSizeAt - 8   // u64, bytes of the frame by its IP header
	sendSegAt    = sendLenAt - 8    // u64, bytes of the frame, or of each of its segments
	sendSumAt    = sendSegAt - 8    // u64, what the inner header adds to the UDP checksum
	sendIDAt     = sendSumAt - 8    // u64, random
	sendUnevenAt = sendIDAt - 8     // u64, not 0 if the segments are not all of one length
	sendCutAt    = sendUnevenAt - 8 // u64, index of the device at which it is cut for that, or 0
	sendHopAt    = sendCutAt - 8    // u32, the key of the cutter's map
	sendMarkAt   = sendHopAt - 8    // u64, of the anchor
	sendTupleAt  = sendMarkAt - 16  // 12 bytes, the anchor's addresses and ports
	sendFigure   = sendTupleAt - 8  // u32, the key of the figures
	sendRingAt   = sendFigure - 8   // u64, the link's ring
	sendFloodAt  = sendRingAt - 8   // u64, until when there is a flood
	sendBuffer   = sendFloodAt - outerMax

	etherLen = int16(encap.EtherHeaderLen)
	udpMin   = 8  // bytes
	tcpMin   = 20 // bytes

	maxPacket = 65535 // bytes of IPv4
)

// sender makes the program for devices of one kind.
type sender struct {
	*Table
	*assembler
	Kind
}

// sendProgram runs on what a device of a kind sends.
func (t *Table) sendProgram(kind Kind) asm.Instructions {
	a := &sender{t, &assembler{}, kind}
	a.add(asm.Mov.Reg(rSkb, asm.R1))
	a.load32(asm.R2, rSkb, skbVLANPresent)
	a.unless(asm.R2, 0, toUnknown)
	a.load32(rData, rSkb, skbData)
	a.need(int32(a.head()) + 20 + udpMin)
	a.clear(sendKeyAt, sendKeyLen)
	a.clear(sendUnevenAt, 8)
	a.clear(sendCutAt, 8)
	a.load32(asm.R4, rSkb, skbIfIndex)
	a.store(asm.RFP, sendKeyAt+sendKeyDevice, asm.R4, asm.Word)
	if a.head() == 0 {
		a.load32(asm.R4, rSkb, skbProtocol)
	} else {
		a.copy32(sendKeyAt+sendKeyMAC, 0, 3)
		a.load16(asm.R4, rData, 12)
	}
	a.add(asm.JEq.Imm(asm.R4, network(0x0800), "inner4"))
	a.unless(asm.R4, network(0x86dd), toUnknown)
	a.inner6()
	a.inner4()
	a.here("inner")
	a.find(t.sends, sendKeyAt, sendTimeAt)
	a.holds(t.slots, t.grants, flowLink)
	a.atHome()
	a.load32(asm.R3, asm.RFP, sendInnerAt)
	a.load32(asm.R4, rFlow, sendInner)
	a.add(asm.JNE.Reg(asm.R3, asm.R4, toWait))
	a.size()
	a.flood()
	a.header()
	a.out()
	a.leave(&leaving{a.slots, a.figures, flowLink, sendTimeAt, sendKeyAt + sendKeyProto, sendFigure, figureTxDropped, false})
	a.passes()
	return a.list
}

// atHome waits unless the device is in the table's namespace. It is not asked for
// every frame, since that costs as much as finding the flow.
func (a *sender) atHome() {
	a.slot(a.slots, flowLink)
	a.load64(asm.R3, asm.R1, wordHome*8)
	a.load64(asm.R4, asm.RFP, sendTimeAt)
	a.add(asm.Sub.Reg(asm.R4, asm.R3), asm.JLT.Imm(asm.R4, int32(homeFor), "home"))
	a.anchor.home(a.assembler, sendTupleAt, sendMarkAt)
	a.slot(a.slots, flowLink)
	a.load64(asm.R4, asm.RFP, sendTimeAt)
	a.store(asm.R1, wordHome*8, asm.R4, asm.DWord)
	a.here("home")
}

// inner4 reads an inner IPv4 header.
func (a *sender) inner4() {
	ip := a.head()
	a.here("inner4")
	a.load8(asm.R4, rData, ip)
	a.unless(asm.R4, 0x45, toUnknown)
	a.load16(asm.R5, rData, ip+6)
	a.add(asm.Mov.Reg(asm.R4, asm.R5), asm.And.Imm(asm.R4, network(0x3fff)))
	a.unless(asm.R4, 0, toUnknown)
	a.swapped(asm.R5) // fragment bits
	a.add(asm.LSh.Imm(asm.R5, 16))
	a.load8(asm.R4, rData, ip+8) // TTL
	a.add(asm.LSh.Imm(asm.R4, 8), asm.Or.Reg(asm.R5, asm.R4))
	a.load8(asm.R4, rData, ip+1) // TOS
	a.tos()
	a.load8(asm.R4, rData, ip+9)
	a.store(asm.RFP, sendKeyAt+sendKeyProto, asm.R4, asm.Word)
	a.copy32(sendKeyAt+sendKeySrc, ip+12, 1)
	a.copy32(sendKeyAt+sendKeyDst, ip+16, 1)
	a.copy32(sendKeyAt+sendKeyPorts, ip+20, 1)
	a.load16(asm.R4, rData, ip+2)
	a.swapped(asm.R4)
	a.add(asm.Add.Imm(asm.R4, int32(ip)))
	a.store(asm.RFP, sendLenAt, asm.R4, asm.DWord)
	a.clear(sendSumAt, 8)
	a.add(asm.Mov.Imm(rFirst, int32(ip)+20))
}

// inner6 reads an inner IPv6 header, and goes on behind inner4.
func (a *sender) inner6() {
	ip := a.head()
	a.need(int32(ip) + 40 + udpMin)
	a.load16(asm.R5, rData, ip)
	a.swapped(asm.R5)
	a.add(asm.Mov.Reg(asm.R4, asm.R5), asm.RSh.Imm(asm.R4, 12))
	a.unless(asm.R4, 6, toUnknown)
	// What of the header is no address and no length is summed up here.
	a.load16(asm.R3, rData, ip+2)
	a.swapped(asm.R3)
	a.add(asm.Add.Reg(asm.R3, asm.R5))
	a.load16(asm.R4, rData, ip+6)
	a.swapped(asm.R4)
	a.add(asm.Add.Reg(asm.R3, asm.R4))
	a.store(asm.RFP, sendSumAt, asm.R3, asm.DWord)
	a.add(asm.Mov.Reg(asm.R4, asm.R5), asm.RSh.Imm(asm.R4, 4), asm.And.Imm(asm.R4, 0xff)) // traffic class
	a.load8(asm.R5, rData, ip+7)                                                          // hop limit
	a.add(asm.LSh.Imm(asm.R5, 8))
	a.tos()
	a.load8(asm.R4, rData, ip+6)
	a.store(asm.RFP, sendKeyAt+sendKeyProto, asm.R4, asm.Word)
	a.copy32(sendKeyAt+sendKeySrc, ip+8, 8)
	a.copy32(sendKeyAt+sendKeyPorts, ip+40, 1)
	a.load16(asm.R4, rData, ip+4)
	a.swapped(asm.R4)
	a.add(asm.Add.Imm(asm.R4, int32(ip)+40))
	a.store(asm.RFP, sendLenAt, asm.R4, asm.DWord)
	a.add(asm.Mov.Imm(rFirst, int32(ip)+40), asm.Ja.Label("inner"))
}

// tos completes the inner word in R5 with the TOS in R4, and stores both.
func (a *sender) tos() {
	a.add(asm.Mov.Reg(asm.R3, asm.R4), asm.And.Imm(asm.R3, 3))
	a.store(asm.RFP, sendECNAt, asm.R3, asm.Word)
	a.add(asm.And.Imm(asm.R4, 0xfc), asm.Or.Reg(asm.R5, asm.R4))
	a.store(asm.RFP, sendInnerAt, asm.R5, asm.Word)
}

// size finds out how long the frame's segments are, if it is a super-frame.
func (a *sender) size() {
	a.load32(asm.R1, rSkb, skbLen)
	a.load64(asm.R2, asm.RFP, sendLenAt)
	a.add(asm.JNE.Reg(asm.R1, asm.R2, toWait)) // there is something behind the IP packet
	a.fitsTwice()
	a.packetLen(asm.R1)
	a.add(asm.JGT.Imm(asm.R1, maxPacket-20-a.over(), toWait)) // more than the outer length fields can say
	a.store(asm.RFP, sendSizeAt, asm.R1, asm.DWord)
	a.add(asm.Mov.Reg(asm.R2, rData), asm.Add.Reg(asm.R2, rFirst)) // TCP or UDP
	a.load32(asm.R3, rSkb, skbGSOSize)
	a.load32(asm.R4, asm.RFP, sendKeyAt+sendKeyProto)
	a.add(asm.JEq.Imm(asm.R4, 6, "tcp"))
	a.unless(asm.R4, 17, toWait)
	a.unless(asm.R3, 0, toWait) // many datagrams in one
	a.load16(asm.R5, asm.R2, 6)
	a.add(asm.JEq.Imm(asm.R5, 0, toWait), asm.Ja.Label("sized")) // without a checksum

	a.here("tcp")
	a.load32(asm.R4, rSkb, skbDataEnd)
	a.add(asm.Mov.Reg(asm.R5, asm.R2), asm.Add.Imm(asm.R5, tcpMin), asm.JGT.Reg(asm.R5, asm.R4, toWait))
	a.load8(asm.R5, asm.R2, 13)
	a.add(asm.And.Imm(asm.R5, 0x80))
	a.unless(asm.R5, 0, toWait) // CWR: to be told once
	a.add(asm.JEq.Imm(asm.R3, 0, "sized"))
	a.load8(asm.R5, asm.R2, 12)
	a.add(asm.RSh.Imm(asm.R5, 4), asm.LSh.Imm(asm.R5, 2), asm.Add.Reg(asm.R5, rFirst)) // bytes of headers
	a.packetLen(asm.R5)
	a.add(asm.JGE.Reg(asm.R5, asm.R1, toWait))
	a.add(asm.Sub.Reg(asm.R1, asm.R5), asm.Mod.Reg32(asm.R1, asm.R3), asm.JEq.Imm(asm.R1, 0, "even"))
	a.uneven()
	a.here("even")
	a.add(asm.Mov.Reg(asm.R1, asm.R5), asm.Add.Reg(asm.R1, asm.R3))

	a.here("sized")
	a.store(asm.RFP, sendSegAt, asm.R1, asm.DWord)
	a.load32(asm.R2, rFlow, sendMTU)
	a.load32(asm.R3, rFlow, sendFlags)
	a.add(asm.And.Imm(asm.R3, flagIPv6), asm.Mul.Imm(asm.R3, 20), asm.Add.Reg(asm.R1, asm.R3), asm.Add.Imm(asm.R1, 20+a.over()),
		asm.JGT.Reg(asm.R1, asm.R2, toWait))
}

// fitsTwice waits if the packet, whose length is in R1, may be too long for the second
// time that room is made in it: where that is refused it cannot be left to the process
// any more.
func (a *sender) fitsTwice() {
	if a.head() > 0 {
		return // once is enough
	}
	a.load32(asm.R3, rSkb, skbGSOSize)
	a.unless(asm.R3, 0, "fits")
	a.add(asm.JGT.Imm(asm.R1, roomMax-outerMax, toWait))
	a.here("fits")
}

// packetLen has the bytes of a device's frame count without their Ethernet header.
func (a *sender) packetLen(r asm.Register) {
	if a.head() > 0 {
		a.add(asm.Sub.Imm(r, int32(a.head())))
	}
}

// uneven decides about a super-frame whose last segment is shorter. The outer
// checksum in its headers is copied to all segments, so it can only be right for
// those of one length (see Send.sum). They are sent without (RFC 7348 §5), if that
// may be, and cut first otherwise.
func (a *sender) uneven() {
	a.load32(asm.R4, rFlow, sendFlags)
	a.add(asm.And.Imm(asm.R4, flagUneven))
	if a.cutter.in != 0 {
		a.unless(asm.R4, 0, "without")
		a.device(a.assembler, asm.R4, wordCutter)
		a.store(asm.RFP, sendCutAt, asm.R4, asm.DWord)
		a.add(asm.JEq.Imm(asm.R4, 0, toWait), asm.Ja.Label("even"))
		a.here("without")
	}
	a.add(asm.JEq.Imm(asm.R4, 0, toWait))
	a.store(asm.RFP, sendUnevenAt, asm.R4, asm.DWord)
}

// header has the headers on the stack, and goes to encap4 or encap6.
func (a *sender) header() {
	a.add(asm.FnGetPrandomU32.Call())
	a.store(asm.RFP, sendIDAt, asm.R0, asm.DWord)
	for i := int16(0); i < outerMax; i += 8 {
		a.load64(asm.R4, rFlow, sendHeaders+i)
		a.store(asm.RFP, sendBuffer+i, asm.R4, asm.DWord)
	}
	if a.cutter.in != 0 { // MAC addresses are filled in when the next hop's is known
		a.add(asm.LoadImm(asm.R4, int64(a.cutter.mark), asm.DWord))
		a.store(asm.RFP, sendBuffer, asm.R4, asm.DWord)
	}
	a.udpChecksum()
	a.outerECN()
	a.load32(asm.R1, rSkb, skbLen)
	a.packetLen(asm.R1)
	a.load32(asm.R2, rFlow, sendFlags)
	a.add(asm.And.Imm(asm.R2, flagIPv6))
	a.unless(asm.R2, 0, "outer6")
	a.outerIPv4()
	a.add(asm.Ja.Label("encap4"))
	a.here("outer6")
	a.outerIPv6()
	a.add(asm.Ja.Label("encap6"))
}

// outerECN has the ECN bits of the outer header in R3.
func (a *sender) outerECN() {
	if a.Kind == Bare { // RFC 6040 §4.1, compatibility mode
		a.add(asm.Mov.Imm(asm.R3, 0))
		return
	}
	a.load32(asm.R3, asm.RFP, sendECNAt)
	a.unless(asm.R3, 3, "ecn") // RFC 6040 §4.1, as Linux does it: CE becomes ECT(0)
	a.add(asm.Mov.Imm(asm.R3, 2))
	a.here("ecn")
}

// udpChecksum has the UDP checksum in R5, in network byte order.
func (a *sender) udpChecksum() {
	a.load32(asm.R5, rFlow, sendCsum)
	a.load64(asm.R1, asm.RFP, sendSegAt)
	a.add(asm.Add.Reg(asm.R5, asm.R1), asm.Add.Reg(asm.R5, asm.R1), asm.Add.Imm(asm.R5, 2*a.over()))
	a.load64(asm.R2, asm.RFP, sendSumAt)
	a.add(asm.Add.Reg(asm.R5, asm.R2))
	a.add(asm.JNE.Imm(rFirst, int32(a.head())+20, "fold")) // IPv6: its header and the pseudo-header have the same length
	a.add(asm.Sub.Imm(asm.R1, 20), asm.Xor.Imm(asm.R1, 0xffff), asm.Add.Reg(asm.R5, asm.R1))
	a.here("fold")
	a.checksum("checksum")
	a.load32(asm.R1, rFlow, sendFlags)
	a.load64(asm.R2, asm.RFP, sendUnevenAt)
	a.add(asm.And.Imm(asm.R1, flagNoCsum), asm.Or.Reg(asm.R1, asm.R2), asm.JEq.Imm(asm.R1, 0, "summed"), asm.Mov.Imm(asm.R5, 0))
	a.here("summed")
}

// checksum turns the sum in R5 into a UDP checksum in network byte order.
func (a *assembler) checksum(done string) {
	a.fold(asm.R5, asm.R1)
	a.add(asm.Xor.Imm(asm.R5, 0xffff))
	a.unless(asm.R5, 0, done)
	a.add(asm.Mov.Imm(asm.R5, 0xffff)) // RFC 768: 0 is for none
	a.here(done)
	a.swapped(asm.R5)
}

// fold makes 16 bits of a sum in ones' complement.
func (a *assembler) fold(sum, scratch asm.Register) {
	for range 2 {
		a.add(asm.Mov.Reg(scratch, sum), asm.RSh.Imm(scratch, 16), asm.And.Imm(sum, 0xffff), asm.Add.Reg(sum, scratch))
	}
}

// udpAndVXLAN is what lies between outer IP and a frame, in bytes.
const udpAndVXLAN = 8 + encap.HeaderLen

// outerIPv4 completes the headers over IPv4. The inner packet's length is in R1,
// the ECN bits in R3, the UDP checksum in R5.
func (a *sender) outerIPv4() {
	const ip, udp = sendBuffer + etherLen, sendBuffer + etherLen + 20
	a.store(asm.RFP, udp+6, asm.R5, asm.Half)
	a.add(asm.Add.Imm(asm.R1, a.over()))
	a.add(asm.Mov.Reg(asm.R2, asm.R1))
	a.swapped(asm.R2)
	a.store(asm.RFP, udp+4, asm.R2, asm.Half)
	a.add(asm.Add.Imm(asm.R1, 20))
	a.load32(asm.R5, rFlow, sendIPCsum)
	a.add(asm.Add.Reg(asm.R5, asm.R1), asm.Add.Reg(asm.R5, asm.R3))
	a.swapped(asm.R1)
	a.store(asm.RFP, ip+2, asm.R1, asm.Half)
	a.load16(asm.R2, asm.RFP, sendIDAt)
	a.store(asm.RFP, ip+4, asm.R2, asm.Half)
	a.swapped(asm.R2)
	a.add(asm.Add.Reg(asm.R5, asm.R2))
	a.fold(asm.R5, asm.R1)
	a.add(asm.Xor.Imm(asm.R5, 0xffff))
	a.swapped(asm.R5)
	a.store(asm.RFP, ip+10, asm.R5, asm.Half)
	a.load8(asm.R4, asm.RFP, ip+1)
	a.add(asm.Or.Reg(asm.R4, asm.R3))
	a.store(asm.RFP, ip+1, asm.R4, asm.Byte)
}

// outerIPv6 does so over IPv6.
func (a *sender) outerIPv6() {
	const ip, udp = sendBuffer + etherLen, sendBuffer + etherLen + 40
	a.store(asm.RFP, udp+6, asm.R5, asm.Half)
	a.add(asm.Add.Imm(asm.R1, a.over()))
	a.swapped(asm.R1)
	a.store(asm.RFP, udp+4, asm.R1, asm.Half)
	a.store(asm.RFP, ip+4, asm.R1, asm.Half)
	a.load8(asm.R4, asm.RFP, ip+1)
	a.add(asm.LSh.Imm(asm.R3, 4), asm.Or.Reg(asm.R4, asm.R3))
	a.store(asm.RFP, ip+1, asm.R4, asm.Byte)
}

// out makes room, writes the headers, and gives the packet to the underlay
// device. Its queue there must not be chosen by that of the link's device: with 0
// it is chosen as for what the process sends by a socket, so that a flow's
// packets of both kinds stay in one queue and in order.
func (a *sender) out() {
	flags := roomFixedGSO | roomEncapUDP | a.roomEther()
	put := func(headers int32, family int64) {
		a.room(asm.Instructions{asm.Mov.Imm(asm.R2, headers-int32(etherLen))}, flags|family, toWait)
		if a.head() == 0 {
			a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Imm(asm.R2, int32(etherLen)), asm.Mov.Imm(asm.R3, 0), asm.FnSkbChangeHead.Call())
			a.unless(asm.R0, 0, "spoilt")
		}
		a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Imm(asm.R2, 0), asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, sendBuffer),
			asm.Mov.Imm(asm.R4, headers), asm.Mov.Imm(asm.R5, 0), asm.FnSkbStoreBytes.Call())
	}
	a.here("encap4")
	put(a.outerLen(), roomEncapIPv4)
	a.add(asm.Ja.Label("out"))
	a.here("encap6")
	put(a.outerLen()+20, roomEncapIPv6)
	a.here("out")
	a.add(asm.StoreImm(rSkb, skbQueueMapping, 0, asm.Word))
	a.count(a.figures, figureTx, sendFigure, sendSizeAt, "counted")
	if a.cutter.in != 0 {
		a.load64(asm.R1, asm.RFP, sendCutAt)
		a.add(asm.JEq.Imm(asm.R1, 0, "uncut"))
		a.cutter.cut(a)
		a.here("uncut")
	}
	a.sendTo(rFlow, flowIfIndex, sendNextHop)
	if a.head() == 0 {
		a.drops("spoilt")
	}
}

// roomEther says what of the room is the inner Ethernet header.
func (a *sender) roomEther() int64 {
	if a.Kind == Bare {
		return 0
	}
	return roomEncapEther | int64(etherLen)<<roomL2Shift
}

// sendTo ends the program with the packet given to a device and next hop that are
// told at from.
func (a *assembler) sendTo(from asm.Register, ifIndexAt int16, nextHopAt int32) {
	a.load32(asm.R1, from, ifIndexAt)
	a.add(asm.Mov.Imm(asm.R2, 0), asm.Mov.Imm(asm.R3, 0), asm.Mov.Imm(asm.R4, 0))
	a.load32(asm.R5, from, int16(nextHopAt))
	// Without a next hop the kernel looks for a route, packet by packet.
	a.add(asm.JEq.Imm(asm.R5, 0, "redirect"),
		asm.Mov.Reg(asm.R2, from), asm.Add.Imm(asm.R2, nextHopAt), asm.Mov.Imm(asm.R3, nextHopLen))
	a.here("redirect")
	a.add(asm.FnRedirectNeigh.Call(), asm.Return())
}

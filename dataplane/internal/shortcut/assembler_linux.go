//go:build !portable

package shortcut

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Offsets in struct __sk_buff (linux/bpf.h).
const (
	skbLen          = 0
	skbPacketType   = 4 // 0: for this machine
	skbQueueMapping = 12
	skbProtocol     = 16
	skbVLANPresent  = 20
	skbVLANTCI      = 24
	skbIngress      = 36 // index of the device that it was received by
	skbIfIndex      = 40
	skbData         = 76
	skbDataEnd      = 80
	skbGSOSegs      = 164
	skbGSOSize      = 176
)

// Values of linux/bpf.h.
const (
	next = -1 // TCX_NEXT: the packet goes its usual way
	drop = 2  // TCX_DROP

	intoDevice = 1 // BPF_F_INGRESS: as if the device had received it

	recomputeSum = 1 // BPF_F_RECOMPUTE_CSUM: a card's sum over the packet, if it made one, is to hold further on

	roomBehindMAC = 1 // BPF_ADJ_ROOM_MAC

	roomFixedGSO   = 1 << 0
	roomEncapIPv4  = 1 << 1
	roomEncapIPv6  = 1 << 2
	roomEncapUDP   = 1 << 4
	roomEncapEther = 1 << 6
	roomDecapIPv4  = 1 << 7
	roomDecapIPv6  = 1 << 8
	roomL2Shift    = 56
)

// Registers that calls leave alone, and what is in them all the time.
const (
	rSkb   = asm.R6
	rData  = asm.R7 // of the packet
	rFlow  = asm.R8 // what is known of it, once it is found
	rFirst = asm.R9 // offset of the header behind the outermost IP header
)

// Programs go to one of these labels when they leave a packet to the process.
const (
	toUnknown = "unknown" // not a flow's
	toWait    = "wait"    // a flow's: the later ones have to wait for it
	toQueue   = "queue"   // a flow's, that waits for earlier ones and for nothing else
)

// assembler collects a program's instructions. Labels are those of jumps.
type assembler struct {
	list  asm.Instructions
	label string // of the next instruction
}

func (a *assembler) add(list ...asm.Instruction) {
	if a.label != "" {
		list[0] = list[0].WithSymbol(a.label)
		a.label = ""
	}
	a.list = append(a.list, list...)
}

// here labels the next instruction.
func (a *assembler) here(label string) { a.label = label }

// load8 and its like load from memory, and store8 and its like write to it.
func (a *assembler) load8(dst, src asm.Register, at int16) {
	a.add(asm.LoadMem(dst, src, at, asm.Byte))
}
func (a *assembler) load16(dst, src asm.Register, at int16) {
	a.add(asm.LoadMem(dst, src, at, asm.Half))
}
func (a *assembler) load32(dst, src asm.Register, at int16) {
	a.add(asm.LoadMem(dst, src, at, asm.Word))
}
func (a *assembler) load64(dst, src asm.Register, at int16) {
	a.add(asm.LoadMem(dst, src, at, asm.DWord))
}

func (a *assembler) store(dst asm.Register, at int16, src asm.Register, size asm.Size) {
	a.add(asm.StoreMem(dst, at, src, size))
}

// exchange writes src to memory if that is as R0, which then is what it was. cilium/ebpf
// 0.22.0 says only in the opcode which operation is meant, which the kernel reads from the
// constant, and would have it add.
func exchange(dst, src asm.Register, at int16) asm.Instruction {
	i := asm.CmpXchg.Mem(dst, src, asm.DWord, at)
	i.Constant = int64(asm.CmpXchg >> 8)
	return i
}

// fetchAdd adds src to memory, which is a barrier as AddAtomic is not everywhere, and has
// what was there in src.
func fetchAdd(dst, src asm.Register, at int16) asm.Instruction {
	i := asm.AddAtomic.Mem(dst, src, asm.DWord, at)
	i.Constant = unix.BPF_FETCH
	return i
}

// copy32 copies some 32-bit words of the packet to the stack.
func (a *assembler) copy32(to, from int16, words int) {
	for i := range int16(words) {
		a.load32(asm.R4, rData, from+4*i)
		a.store(asm.RFP, to+4*i, asm.R4, asm.Word)
	}
}

// swapped turns a 16-bit word in network byte order into a number.
func (a *assembler) swapped(r asm.Register) { a.add(asm.HostTo(asm.BE, r, asm.Half)) }

// clear zeroes part of the stack, a multiple of 8 bytes.
func (a *assembler) clear(at, size int16) {
	a.add(asm.Mov.Imm(asm.R4, 0))
	for i := int16(0); i < size; i += 8 {
		a.store(asm.RFP, at+i, asm.R4, asm.DWord)
	}
}

// need goes to unknown if the packet's first n bytes cannot be looked at.
func (a *assembler) need(n int32) {
	a.load32(asm.R3, rSkb, skbDataEnd)
	a.add(asm.Mov.Reg(asm.R2, rData), asm.Add.Imm(asm.R2, n), asm.JGT.Reg(asm.R2, asm.R3, toUnknown))
}

// pull does so after it has tried to have the bytes at hand: of a run that a
// socket on this machine sent, only the outer headers are.
func (a *assembler) pull(n int32, done string) {
	a.load32(asm.R3, rSkb, skbDataEnd)
	a.add(asm.Mov.Reg(asm.R2, rData), asm.Add.Imm(asm.R2, n), asm.JLE.Reg(asm.R2, asm.R3, done))
	a.load32(asm.R3, rSkb, skbLen)
	a.add(asm.JLT.Imm(asm.R3, n, toUnknown),
		asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Imm(asm.R2, n), asm.FnSkbPullData.Call())
	a.unless(asm.R0, 0, toUnknown)
	a.load32(rData, rSkb, skbData)
	a.load32(asm.R3, rSkb, skbDataEnd)
	a.add(asm.Mov.Reg(asm.R2, rData), asm.Add.Imm(asm.R2, n), asm.JGT.Reg(asm.R2, asm.R3, toUnknown))
	a.here(done)
}

// unless goes elsewhere if a register is not as wanted.
func (a *assembler) unless(r asm.Register, want int32, elsewhere string) {
	a.add(asm.JNE.Imm(r, want, elsewhere))
}

// network is a 16-bit number as it is found in a packet by load16.
func network(n uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)))
}

// network32 is a 32-bit number as it is found in a packet by load32.
func network32(n uint32) int32 {
	return int32(binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, n)))
}

// find looks a key on the stack up and has what is known in rFlow, or goes to
// unknown. Then the time is in R0, and on the stack at timeAt.
func (a *assembler) find(m *ebpf.Map, keyAt int32, timeAt int16) {
	a.add(asm.LoadMapPtr(asm.R1, m.FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, keyAt),
		asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, toUnknown), asm.Mov.Reg(rFlow, asm.R0),
		asm.FnKtimeGetNs.Call())
	a.store(asm.RFP, timeAt, asm.R0, asm.DWord)
}

// slot has the slot in R1 whose offset is in the flow at offsetAt.
func (a *assembler) slot(slots *ebpf.Map, offsetAt int16) {
	a.load32(asm.R2, rFlow, offsetAt)
	a.add(asm.And.Imm(asm.R2, slotMask), asm.LoadMapValue(asm.R1, slots.FD(), 0), asm.Add.Reg(asm.R1, asm.R2))
}

// slotMask keeps an offset inside of the slots, as far as the verifier sees.
const slotMask = (maxSlots - 1) * slotWords * 8

// holds waits if what is known does not hold any more, the time being in R0:
// its grant is over, the link has changed, or the queue may have earlier frames
// of the flow.
func (a *assembler) holds(slots, grants *ebpf.Map, queueAt int16) {
	a.granted(grants.FD())
	a.slot(slots, flowLink)
	a.load64(asm.R3, asm.R1, wordVersion*8)
	a.load64(asm.R4, rFlow, flowVersion)
	a.add(asm.JNE.Reg(asm.R3, asm.R4, toWait))
	if queueAt != flowLink {
		a.slot(slots, queueAt)
	}
	a.load64(asm.R3, asm.R1, wordDrained*8)
	a.load64(asm.R4, rFlow, flowWaited)
	a.add(asm.Add.Imm(asm.R4, int32(Enqueue)), asm.JLE.Reg(asm.R3, asm.R4, toQueue))
}

// count adds a packet of size bytes, which is in a register that calls leave
// alone or on the stack at sizeAt, to the link's figures.
func (a *assembler) count(figures *ebpf.Map, packetsAt, keyAt, sizeAt int16, done string) {
	a.countOne(figures, packetsAt, keyAt, done)
	a.load64(asm.R1, asm.R0, packetsAt+8)
	a.load64(asm.R2, asm.RFP, sizeAt)
	a.add(asm.Add.Reg(asm.R1, asm.R2))
	a.store(asm.R0, packetsAt+8, asm.R1, asm.DWord)
	a.here(done)
}

// countOne adds one to a figure of the link, and has its figures in R0, or goes
// to done.
func (a *assembler) countOne(figures *ebpf.Map, at, keyAt int16, done string) {
	a.core(figures, keyAt, done)
	a.load64(asm.R1, asm.R0, at)
	a.add(asm.Add.Imm(asm.R1, 1))
	a.store(asm.R0, at, asm.R1, asm.DWord)
}

// core has what this core knows of the flow's link in R0, and the index of its slot on
// the stack at keyAt, or goes to done.
func (a *assembler) core(figures *ebpf.Map, keyAt int16, done string) {
	a.load32(asm.R2, rFlow, flowLink)
	a.add(asm.RSh.Imm(asm.R2, slotShift))
	a.store(asm.RFP, keyAt, asm.R2, asm.Word)
	a.add(asm.LoadMapPtr(asm.R1, figures.FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(keyAt)),
		asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, done))
}

// passes ends the program: the packet goes its usual way.
func (a *assembler) passes() { a.add(asm.Mov.Imm(asm.R0, next), asm.Return()) }

// drops ends the program without the packet, from a label on.
func (a *assembler) drops(label string) {
	a.here(label)
	a.add(asm.Mov.Imm(asm.R0, drop), asm.Return())
}

// loses ends the program without the packet, from a label on, and the sender is not
// told: neither is it when a TUN device's queue is full. To be refused with ENOBUFS,
// as after drops, is the end of many a program that sends. A redirection to no
// device is the way to that (skb_do_redirect frees the packet, sch_handle_egress
// says NET_XMIT_SUCCESS), since tcx programs have no TC_ACT_STOLEN.
func (a *assembler) loses(label string) {
	a.here(label)
	a.add(asm.Mov.Imm(asm.R1, 0), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return())
}

// slotShift turns a slot's offset into its index.
const slotShift = 6

// leaving is where a program has what it needs to know of a packet that it does
// not carry: in the flow, on the stack, and in the link's figures.
type leaving struct {
	slots, figures *ebpf.Map
	queue          int16 // of the flow
	time           int16 // see find
	proto          int16 // u32, of the inner packet
	key            int16 // for the figures
	dropped        int16 // of the figures
	again          bool  // the packet comes to a program again, which counts it
}

// leave is where a program goes with a packet that is left to the process, by three
// labels, and notes that in its queue and its flow. What follows ends the program.
//
// The time is that from behind the count: who has seen it, or a later one, sees that too
// (underway, in package dataplane).
func (a *assembler) leave(at *leaving) {
	a.here(toQueue)
	a.dropWaiting(at)
	a.here(toWait)
	if !at.again {
		a.slot(at.slots, at.queue)
		a.add(asm.Mov.Imm(asm.R2, 1), fetchAdd(asm.R1, asm.R2, wordLeft*8))
	}
	a.add(asm.FnKtimeGetNs.Call())
	a.load64(asm.R2, rFlow, flowWaited)
	a.add(asm.JGE.Reg(asm.R2, asm.R0, toUnknown)) // it has to wait for longer as it is
	a.store(rFlow, flowWaited, asm.R0, asm.DWord)
	a.here(toUnknown)
}

// dropWaiting drops a single datagram while its queue is being emptied.
func (a *assembler) dropWaiting(at *leaving) {
	a.slot(at.slots, at.queue)
	a.load64(asm.R1, asm.R1, wordEmpty*8)
	a.load64(asm.R2, asm.RFP, at.time)
	a.add(asm.JLE.Reg(asm.R1, asm.R2, toWait))
	a.load32(asm.R1, asm.RFP, at.proto)
	a.unless(asm.R1, 17, toWait)
	a.load32(asm.R1, rSkb, skbGSOSize)
	a.unless(asm.R1, 0, toWait)
	a.countOne(at.figures, at.dropped, at.key, "waiting")
	a.loses("waiting")
}

// room makes room behind the Ethernet header, or takes some away: as many bytes as
// size leaves in R2. It goes elsewhere if there is no memory.
func (a *assembler) room(size asm.Instructions, flags int64, elsewhere string) {
	a.add(size...)
	a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Imm(asm.R3, roomBehindMAC), asm.LoadImm(asm.R4, flags, asm.DWord), asm.FnSkbAdjustRoom.Call())
	a.unless(asm.R0, 0, elsewhere)
}

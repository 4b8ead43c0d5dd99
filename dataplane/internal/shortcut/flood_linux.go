//go:build !portable

package shortcut

import (
	"time"

	"github.com/cilium/ebpf/asm"
)

// flooding is how a core's program that sends knows a flood: single datagrams by a
// link, floodMin or more in a floodWindow, that take at least half of the core's time
// if each takes as long as the shortest time from one to the next. What comes at an even
// pace looks like one too.
//
// One that is too large for a ring goes by the device while its flow has others in the
// ring, and takes the flow there with it. So each takes back floodLarge of those that
// count: where they are more than a few there is no flood.
//
// A core that is so busy with whole ways through the kernel, of which the
// longest part is to wake the receiver for each datagram, gets more of them to where
// they are going if it leaves the rest of the way to the process, which does many
// at once.
type flooding struct {
	Last  uint64 // when a datagram was sent, a time of Now
	Began uint64 // when the present floodWindow did
	Sent  uint64 // datagrams in it, less floodLarge for each that is too large
	Least uint64 // the shortest time between two of them, in ns
	Until uint64 // the flood lasts, a time of Now
}

// Where they lie in perCore, in bytes.
const (
	floodLast = figuresLen + 8*iota
	floodBegan
	floodSent
	floodLeast
	floodUntil
)

const (
	floodWindow = time.Millisecond
	floodMin    = 64
	floodLarge  = 16
	// floodFor is how long a flood lasts at least: longer than the scheduler takes
	// from the sender when the process gets the core too.
	floodFor = 10 * time.Millisecond
)

// flood leaves a datagram to the process by the ring of its link, if there is a
// flood, or the flow has others there. The size of the frame, and that it may be
// carried, is known.
func (a *sender) flood() {
	a.load32(asm.R4, asm.RFP, sendKeyAt+sendKeyProto)
	a.unless(asm.R4, 17, "carried")
	a.core(a.figures, sendFigure, "carried")
	a.isFlood()
	a.load64(asm.R2, asm.RFP, sendTimeAt)
	a.load64(asm.R3, rFlow, sendRing)
	a.add(asm.JGT.Reg(asm.R1, asm.R2, "ringed"), asm.JEq.Imm(asm.R3, 0, "carried"))
	a.here("ringed")
	a.add(asm.LoadMapPtr(asm.R1, a.rings.FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(sendFigure)),
		asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, "carried"))
	a.store(asm.RFP, sendRingAt, asm.R0, asm.DWord)

	a.load64(asm.R1, rFlow, sendRing)
	a.add(asm.JEq.Imm(asm.R1, 0, "dry"), asm.JNE.Imm(asm.R1, ringUnknown, "known"))
	a.askRing(ringProduced) // nobody sends the flow by its former value any more
	a.add(asm.Mov.Reg(asm.R2, asm.R0), asm.Mov.Imm(asm.R0, ringUnknown), exchange(rFlow, asm.R2, sendRing))
	a.here("known")
	a.askRing(ringConsumed)
	a.load64(asm.R1, rFlow, sendRing)
	a.add(asm.JGE.Reg(asm.R0, asm.R1, "drained"))
	a.fits(toWait)
	a.ringSlot()
	a.load64(asm.R1, asm.R1, wordShut*8)
	a.load64(asm.R2, asm.RFP, sendTimeAt)
	a.add(asm.JGT.Reg(asm.R1, asm.R2, "shut"), asm.Ja.Label("ring"))
	a.here("drained")
	a.add(asm.Mov.Reg(asm.R0, asm.R1), asm.Mov.Imm(asm.R2, 0), // another core may have put one there just now
		exchange(rFlow, asm.R2, sendRing))
	a.here("dry")
	a.load64(asm.R1, asm.RFP, sendFloodAt)
	a.load64(asm.R2, asm.RFP, sendTimeAt)
	a.add(asm.JLE.Reg(asm.R1, asm.R2, "carried"))
	a.ringSlot()
	a.load64(asm.R1, asm.R1, wordCalm*8)
	a.load64(asm.R2, asm.RFP, sendTimeAt)
	a.add(asm.JGT.Reg(asm.R1, asm.R2, "carried"))
	a.fits("carried")
	a.here("ring")
	a.put()
	a.here("carried")
}

// fits goes elsewhere with a frame that is too large for a ring, or whose checksum was
// not left to the device. For what is in a ring nobody knows where a checksum is to be
// made but the frame itself, and of what another tunnel on this host has wrapped
// it does not say that: the checksum inside is unfinished, and the one outside right
// for when it is not (but one in 65536 looks as if it were left, too).
func (a *sender) fits(elsewhere string) {
	a.load32(asm.R2, rSkb, skbLen)
	a.add(asm.JGT.Imm(asm.R2, ringFrameMax, elsewhere))
	a.add(asm.Mov.Reg(asm.R2, rData), asm.Add.Reg(asm.R2, rFirst))
	a.load16(asm.R5, asm.R2, 4)
	a.add(asm.Add.Imm(asm.R5, network(17)))
	for i := int16(0); i < 2*16; i += 4 {
		a.load32(asm.R4, asm.RFP, sendKeyAt+sendKeySrc+i)
		a.add(asm.Add.Reg(asm.R5, asm.R4))
	}
	a.fold(asm.R5, asm.R1)
	a.fold(asm.R5, asm.R1)
	a.load16(asm.R4, asm.R2, 6)
	a.add(asm.JNE.Reg(asm.R4, asm.R5, elsewhere))
}

// isFlood notes a datagram in the core's record in R0, and has until when there is a
// flood in R1 and on the stack.
func (a *sender) isFlood() {
	a.load64(asm.R1, asm.RFP, sendTimeAt)
	a.load64(asm.R2, asm.R0, floodLast)
	a.store(asm.R0, floodLast, asm.R1, asm.DWord)
	a.add(asm.Mov.Reg(asm.R3, asm.R1), asm.Sub.Reg(asm.R3, asm.R2)) // since the one before
	a.load64(asm.R4, asm.R0, floodLeast)
	a.add(asm.JGE.Reg(asm.R3, asm.R4, "least"), asm.Mov.Reg(asm.R4, asm.R3))
	a.store(asm.R0, floodLeast, asm.R4, asm.DWord)
	a.here("least")
	a.load64(asm.R5, asm.R0, floodSent)
	a.add(asm.Add.Imm(asm.R5, 1))
	a.load32(asm.R2, rSkb, skbLen)
	a.add(asm.JLE.Imm(asm.R2, ringFrameMax, "small"), asm.Sub.Imm(asm.R5, floodLarge+1),
		asm.JSGE.Imm(asm.R5, 0, "small"), asm.Mov.Imm(asm.R5, 0))
	a.here("small")
	a.load64(asm.R2, asm.R0, floodBegan)
	a.add(asm.Mov.Reg(asm.R3, asm.R1), asm.Sub.Reg(asm.R3, asm.R2), // the window so far
		asm.JLT.Imm(asm.R3, int32(floodWindow), "window"))
	a.add(asm.JLT.Imm(asm.R5, floodMin, "calm"),
		asm.Mul.Reg(asm.R4, asm.R5), asm.LSh.Imm(asm.R4, 1), asm.JLT.Reg(asm.R4, asm.R3, "calm"),
		asm.Mov.Reg(asm.R2, asm.R1), asm.Add.Imm(asm.R2, int32(floodFor)))
	a.load64(asm.R3, asm.R0, floodUntil)
	a.add(asm.JGE.Reg(asm.R3, asm.R2, "calm"))
	a.store(asm.R0, floodUntil, asm.R2, asm.DWord)
	a.here("calm")
	a.store(asm.R0, floodBegan, asm.R1, asm.DWord)
	a.add(asm.Mov.Imm(asm.R4, int32(floodWindow)), asm.Mov.Imm(asm.R5, 0))
	a.store(asm.R0, floodLeast, asm.R4, asm.DWord)
	a.here("window")
	a.store(asm.R0, floodSent, asm.R5, asm.DWord)
	a.load64(asm.R1, asm.R0, floodUntil)
	a.store(asm.RFP, sendFloodAt, asm.R1, asm.DWord)
}

// put ends the program with the frame in the ring, or dropped where that is full.
func (a *sender) put() {
	a.load32(rFirst, rSkb, skbLen)
	a.add(asm.JEq.Imm(rFirst, 0, toWait)) // it is not; the verifier wants to be told
	for i, size := range ringRecords {
		larger := "larger" + string(rune('0'+i))
		a.add(asm.JGT.Imm(rFirst, size-ringHeadLen, larger))
		a.load64(asm.R1, asm.RFP, sendRingAt)
		a.add(asm.Mov.Imm(asm.R2, size), asm.Mov.Imm(asm.R3, 0), asm.FnRingbufReserve.Call(),
			asm.JEq.Imm(asm.R0, 0, "full"), asm.Mov.Reg(rData, asm.R0))
		a.record(larger)
		a.wake("left" + larger)
		a.loses("left" + larger)
		a.here(larger)
	}
	a.add(asm.Ja.Label(toWait)) // it is none of ringFrameMax
	a.here("full")
	a.ringSlot()
	a.add(asm.Mov.Imm(asm.R2, 1), asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, wordFull*8))
	a.here("shut")
	a.countOne(a.figures, figureTxDropped, sendFigure, "overflow")
	a.loses("overflow")
}

// record fills in the record in rData and commits it. Then the position behind it is in
// rFirst.
func (a *sender) record(label string) {
	a.store(rData, ringLen, rFirst, asm.Half)
	a.load32(asm.R2, asm.RFP, sendFigure)
	a.store(rData, ringLink, asm.R2, asm.Half)
	a.load64(asm.R2, asm.RFP, sendTimeAt)
	a.store(rData, ringTime, asm.R2, asm.Word)
	a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Imm(asm.R2, 0), asm.Mov.Reg(asm.R3, rData), asm.Add.Imm(asm.R3, ringHeadLen),
		asm.Mov.Reg(asm.R4, rFirst), asm.FnSkbLoadBytes.Call(), // all bytes are there
		asm.Mov.Reg(asm.R1, rData), asm.Mov.Imm(asm.R2, ringQuiet), asm.FnRingbufSubmit.Call())
	a.askRing(ringProduced)
	a.add(asm.Mov.Reg(rFirst, asm.R0))
	for try := range 2 { // other cores may send datagrams of the flow: the last position counts
		a.load64(asm.R0, rFlow, sendRing)
		a.add(asm.JGE.Reg(asm.R0, rFirst, "noted"+label), asm.Mov.Reg(asm.R2, rFirst))
		if try == 0 {
			a.add(asm.Mov.Reg(asm.R1, asm.R0))
		}
		a.add(exchange(rFlow, asm.R2, sendRing))
		if try == 0 {
			a.add(asm.JEq.Reg(asm.R0, asm.R1, "noted"+label))
		}
	}
	a.here("noted" + label)
}

// wake wakes the ring's reader if it sleeps, by an empty record, since to commit one
// is what may wake it. That it sleeps may not be asked before the frame is committed,
// which is a barrier: the reader says that it will, and then looks into the ring.
func (a *sender) wake(label string) {
	a.ringSlot()
	a.load64(asm.R3, asm.R1, wordWake*8)
	a.add(asm.JEq.Imm(asm.R3, 0, label), asm.JLT.Reg(rFirst, asm.R3, label),
		asm.Mov.Imm(asm.R3, 0))
	a.store(asm.R1, wordWake*8, asm.R3, asm.DWord) // once is enough
	a.load64(asm.R1, asm.RFP, sendRingAt)
	a.add(asm.Mov.Imm(asm.R2, 8), asm.Mov.Imm(asm.R3, 0), asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, label),
		asm.Mov.Reg(asm.R1, asm.R0), asm.Mov.Imm(asm.R2, ringLoud), asm.FnRingbufDiscard.Call())
}

// askRing has a position of the link's ring in R0.
func (a *sender) askRing(what int32) {
	a.load64(asm.R1, asm.RFP, sendRingAt)
	a.add(asm.Mov.Imm(asm.R2, what), asm.FnRingbufQuery.Call())
}

// ringSlot has the slot of the link's ring in R1.
func (a *sender) ringSlot() {
	a.slot(a.slots, flowLink)
	a.load64(asm.R2, asm.R1, wordRing*8)
	a.add(asm.And.Imm(asm.R2, slotMask), asm.LoadMapValue(asm.R1, a.slots.FD(), 0), asm.Add.Reg(asm.R1, asm.R2))
}

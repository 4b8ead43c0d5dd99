//go:build !portable

package shortcut

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf/asm"
)

// grantArray is the grants of this process. As slots do, it stays when tables go.
type grantArray struct {
	mu   sync.Mutex
	last uint64 // tag that was given
	memory
}

const (
	maxGrants  = 2 * maxFlows // of both kinds of flow
	grantBytes = grantWords * 8
)

var grants = grantArray{memory: memory{name: "weft_grants", size: maxGrants * grantBytes}}

// give returns a new grant. It is in the place of the one that was given longest ago.
func (a *grantArray) give() Grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	g := Grant{words: (*[grantWords]atomic.Uint64)(unsafe.Pointer(&a.data[a.last%maxGrants*grantBytes])), tag: a.last}
	g.words[wordTag].Store(0)
	g.words[wordUsed].Store(0)
	g.Renew()
	g.words[wordTag].Store(g.tag)
	return g
}

// granted waits unless the flow's grant holds, the time being in R0, and notes in it
// that it is used, if that may be asked for soon.
func (a *assembler) granted(grants int) {
	a.load64(asm.R4, rFlow, flowGrant)
	a.add(asm.Mov.Reg(asm.R2, asm.R4), asm.And.Imm(asm.R2, maxGrants-1), asm.Mul.Imm(asm.R2, grantBytes),
		asm.LoadMapValue(asm.R1, grants, 0), asm.Add.Reg(asm.R1, asm.R2))
	a.load64(asm.R3, asm.R1, wordTag*8)
	a.add(asm.JNE.Reg(asm.R3, asm.R4, toWait))
	a.load64(asm.R3, asm.R1, wordExpires*8)
	a.add(asm.JGE.Reg(asm.R0, asm.R3, toWait),
		asm.Sub.Reg(asm.R3, asm.R0), asm.JGT.Imm(asm.R3, int32(Lease*3/4), "used"))
	a.load64(asm.R3, asm.R1, wordUsed*8)
	a.unless(asm.R3, 0, "used")
	a.add(asm.Mov.Imm(asm.R3, 1))
	a.store(asm.R1, wordUsed*8, asm.R3, asm.DWord)
	a.here("used")
}

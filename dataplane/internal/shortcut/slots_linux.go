//go:build !portable

package shortcut

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// maxSlots is how many links and sockets there can be.
const maxSlots = 1024

// slotArray is the slots of this process.
type slotArray struct {
	mu   sync.Mutex
	used [maxSlots / 64]uint64 // slots that are taken
	memory
}

var slots = slotArray{memory: memory{name: "weft_slots", size: maxSlots * slotWords * 8}}

// take returns a slot that nobody has, or nil when there is none left.
func (a *slotArray) take() *Slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.used {
		if free := bits.TrailingZeros64(^a.used[i]); free < 64 {
			a.used[i] |= 1 << free
			s := &Slot{index: 64*i + free}
			s.words = (*[slotWords]atomic.Uint64)(unsafe.Pointer(&a.data[s.offset()]))
			return s
		}
	}
	return nil
}

// free gives a slot back. Flows that name it do not hold any more, and what is
// on its way to its device has none.
func (a *slotArray) free(s *Slot) {
	s.Changes().Add(1)
	s.Drained(0)
	s.Empty(0)
	s.words[wordDevice].Store(0)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used[s.index/64] &^= 1 << (s.index % 64)
}

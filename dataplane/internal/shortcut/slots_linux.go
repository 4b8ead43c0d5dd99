//go:build !portable

package shortcut

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// maxSlots is how many links and sockets there can be.
const maxSlots = 1024

// slotArray is the slots of this process: memory that programs read and the
// process writes to without a system call. There is one, whatever tables come
// and go, and it stays: who counts a change of a link may do so when the link
// has gone already.
type slotArray struct {
	mu   sync.Mutex
	of   *ebpf.Map
	used [maxSlots / 64]uint64 // slots that are taken
	data []byte                // of the map
}

var slots slotArray

const slotBytes = maxSlots * slotWords * 8

// open returns the map for programs.
func (a *slotArray) open() (*ebpf.Map, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.data != nil {
		return a.of, nil
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "weft_slots", Type: ebpf.Array, KeySize: 4, ValueSize: slotBytes, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE})
	if err != nil {
		return nil, explain("create a BPF map", err)
	}
	data, err := unix.Mmap(m.FD(), 0, slotBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("map a BPF array: %w", err)
	}
	a.of, a.data = m, data
	return m, nil
}

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

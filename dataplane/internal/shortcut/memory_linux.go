//go:build !portable

package shortcut

import (
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// memory is what programs read and write that the process does so with too,
// without a system call. There is one of a kind, whatever tables come and go, and
// it stays: who has a part of it may write to that when its table has gone already.
type memory struct {
	name string
	size int // bytes

	opening sync.Mutex
	of      *ebpf.Map
	data    []byte
}

// open returns the map for programs.
func (m *memory) open() (*ebpf.Map, error) {
	m.opening.Lock()
	defer m.opening.Unlock()
	if m.data != nil {
		return m.of, nil
	}
	of, err := ebpf.NewMap(&ebpf.MapSpec{Name: m.name, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(m.size), MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE})
	if err != nil {
		return nil, explain("create a BPF map", err)
	}
	data, err := unix.Mmap(of.FD(), 0, m.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		of.Close()
		return nil, fmt.Errorf("map a BPF array: %w", err)
	}
	m.of, m.data = of, data
	return of, nil
}

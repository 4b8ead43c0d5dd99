//go:build linux

package xtables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket options, the same numbers for both families.
const (
	getInfo     = 64
	getEntries  = 65
	setReplace  = 64
	addCounters = 65
)

// Socket reaches the tables of a family, in the network namespace where it was
// opened.
type Socket struct {
	family Family
	fd     int
}

// Open opens a socket in the calling thread's network namespace.
func Open(f Family) (*Socket, error) {
	domain := unix.AF_INET
	if f == IPv6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	return &Socket{f, fd}, nil
}

// Close closes the socket.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// Loaded names the tables that the calling thread's network namespace has.
// Asking the kernel for one by its name would make it.
func Loaded(f Family) ([]string, error) {
	file := "ip_tables_names"
	if f == IPv6 {
		file = "ip6_tables_names"
	}
	// /proc/net is the main thread's.
	b, err := os.ReadFile("/proc/thread-self/net/" + file)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a kernel without iptables-legacy, or its module is not loaded
		return nil, nil
	case err != nil:
		return nil, err
	}
	names := strings.Fields(string(b))
	slices.Sort(names)
	return names, nil
}

// Read takes a table from the kernel, which makes it if it was not loaded.
func (s *Socket) Read(name string) (*Table, error) {
	info, blob, err := s.ReadRaw(name)
	if err != nil {
		return nil, err
	}
	return Parse(s.family, name, info, blob)
}

// ReadRaw returns a table's bytes.
func (s *Socket) ReadRaw(name string) (Info, []byte, error) {
	info, err := s.info(name)
	if err != nil {
		return info, nil, fmt.Errorf("table %s: %w", name, err)
	}
	// struct ipt_get_entries: name, size, entries
	head := align(tableNameLen + 4)
	buf := make([]byte, head+int(info.Size))
	copy(buf[:tableNameLen-1], name)
	native.PutUint32(buf[tableNameLen:], info.Size)
	if err := s.get(getEntries, buf); err != nil {
		return info, nil, fmt.Errorf("table %s: list its entries: %w", name, err)
	}
	return info, buf[head:], nil
}

// info asks for struct ipt_getinfo.
func (s *Socket) info(name string) (Info, error) {
	var info Info
	buf := make([]byte, tableNameLen+4+2*4*hooks+8)
	copy(buf[:tableNameLen-1], name)
	if err := s.get(getInfo, buf); err != nil {
		return info, err
	}
	at := tableNameLen
	for _, field := range info.fields() {
		*field = native.Uint32(buf[at:])
		at += 4
	}
	return info, nil
}

// fields are those of struct ipt_getinfo after the name, in order.
func (i *Info) fields() []*uint32 {
	list := []*uint32{&i.ValidHooks}
	for h := range i.HookEntry {
		list = append(list, &i.HookEntry[h])
	}
	for h := range i.Underflow {
		list = append(list, &i.Underflow[h])
	}
	return append(list, &i.Entries, &i.Size)
}

func (s *Socket) level() int {
	if s.family == IPv6 {
		return unix.IPPROTO_IPV6
	}
	return unix.IPPROTO_IP
}

// get is getsockopt with a buffer that the kernel reads first.
func (s *Socket) get(option int, buf []byte) error {
	length := uint32(len(buf)) // socklen_t
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), uintptr(s.level()), uintptr(option),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (s *Socket) set(option int, buf []byte) error {
	return unix.SetsockoptString(s.fd, s.level(), option, string(buf))
}

// Replace gives the kernel a table that was read from it and changed since, at
// one stroke. The rules that stayed go on counting where they were. It fails
// with EAGAIN if the table got another number of entries meanwhile; holding
// [Lock] keeps iptables from changing it at all.
func (s *Socket) Replace(t *Table) error {
	info, blob, err := t.Encode()
	if err != nil {
		return err
	}
	counted := make([]byte, countersLen*max(t.entries, 1))
	var pin runtime.Pinner
	pin.Pin(&counted[0])
	defer pin.Unpin()
	if err := s.set(setReplace, append(replaceHead(t, info, &counted[0]), blob...)); err != nil {
		return fmt.Errorf("table %s: replace it: %w", t.Name, err)
	}
	if err := s.set(addCounters, t.counters(counted)); err != nil {
		return fmt.Errorf("table %s: enter again what its rules had counted: %w", t.Name, err)
	}
	return nil
}

// replaceHead is struct ipt_replace up to its entries. The kernel writes what
// the replaced entries have counted to where counted points.
func replaceHead(t *Table, info Info, counted *byte) []byte {
	b := make([]byte, tableNameLen)
	copy(b[:tableNameLen-1], t.Name)
	for _, v := range []uint32{info.ValidHooks, info.Entries, info.Size} {
		b = native.AppendUint32(b, v)
	}
	for _, offsets := range [][hooks]uint32{info.HookEntry, info.Underflow} {
		for _, v := range offsets {
			b = native.AppendUint32(b, v)
		}
	}
	b = native.AppendUint32(b, uint32(t.entries))
	pointer := uintptr(unsafe.Pointer(counted))
	if unsafe.Sizeof(pointer) == 8 {
		b = append(b, make([]byte, align(len(b))-len(b))...)
		b = native.AppendUint64(b, uint64(pointer))
	} else {
		b = native.AppendUint32(b, uint32(pointer))
	}
	return append(b, make([]byte, align(len(b))-len(b))...)
}

// counters is struct xt_counters_info: for each entry what it had counted.
func (t *Table) counters(counted []byte) []byte {
	rules := t.all()
	b := make([]byte, align(tableNameLen+4), align(tableNameLen+4)+countersLen*len(rules))
	copy(b[:tableNameLen-1], t.Name)
	native.PutUint32(b[tableNameLen:], uint32(len(rules)))
	for _, r := range rules {
		one := make([]byte, countersLen)
		if r.old >= 0 {
			copy(one, counted[r.old*countersLen:])
		}
		b = append(b, one...)
	}
	return b
}

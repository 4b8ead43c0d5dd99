//go:build linux

package xtables

import (
	"bytes"
	"encoding/binary"
	"runtime"
)

// Family is IPv4 or IPv6.
type Family bool

// The families; their entries differ in how long an address is.
const (
	IPv4 Family = false
	IPv6 Family = true
)

var native = binary.NativeEndian

// align is that of a u64, to which the kernel aligns all parts. The i386 ABI
// alone has 4.
func align(n int) int {
	unit := 8
	if runtime.GOARCH == "386" {
		unit = 4
	}
	return (n + unit - 1) &^ (unit - 1)
}

// Where the fields of an entry's head lie.

func (f Family) addrLen() int {
	if f == IPv6 {
		return 16
	}
	return 4
}

// ipLen is the length of struct ipt_ip, or ip6t_ip6.
func (f Family) ipLen() int {
	if f == IPv6 {
		return 136
	}
	return 84
}

func (f Family) flagsAt() int { // flags, then invflags
	if f == IPv6 {
		return 131
	}
	return 82
}

func (f Family) targetOffsetAt() int { return f.ipLen() + 4 }
func (f Family) nextOffsetAt() int   { return f.ipLen() + 6 }
func (f Family) comefromAt() int     { return f.ipLen() + 8 }
func (f Family) countersAt() int     { return align(f.comefromAt() + 4) }
func (f Family) headLen() int        { return f.countersAt() + countersLen }

const (
	countersLen = 16 // packets and bytes

	extensionLen = 32 // head of a match or target
	nameLen      = 29
	revisionAt   = 31

	tableNameLen = 32
	errorNameLen = 30
	hooks        = 5

	invertedSource      = 0x08
	invertedDestination = 0x10
)

func (f Family) gotoFlag() byte {
	if f == IPv6 {
		return 0x04
	}
	return 0x02
}

// verdicts of targets without a name: -NF_DROP-1 and so on.
const (
	verdictDrop   = -1
	verdictAccept = -2
	verdictQueue  = -4
	verdictReturn = -5
)

func verdictBytes(v int32) []byte {
	return native.AppendUint32(nil, uint32(v))
}

// extension puts a match or target together.
func extension(name string, revision uint8, data []byte) []byte {
	b := make([]byte, align(extensionLen+len(data)))
	native.PutUint16(b, uint16(len(b)))
	copy(b[2:2+nameLen-1], name)
	b[revisionAt] = revision
	copy(b[extensionLen:], data)
	return b
}

// text is what stands before the first zero.
func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

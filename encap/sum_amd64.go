package encap

// vectorsFrom is the number of bytes from which on sumVectors is the faster way.
const vectorsFrom = 160

// hasVectors reports whether the processor has AVX2 and the system keeps its
// registers. It is asked here because golang.org/x/sys/cpu brings the os package
// with it.
func hasVectors() bool {
	const (
		osxsave   = 1 << 27     // leaf 1, ecx
		avx2      = 1 << 5      // leaf 7, ebx
		registers = 1<<1 | 1<<2 // XCR0: XMM and YMM
	)
	leaves, _, _ := cpuid(0)
	if leaves < 7 {
		return false
	}
	if _, _, ecx := cpuid(1); ecx&osxsave == 0 || xgetbv()&registers != registers {
		return false
	}
	_, ebx, _ := cpuid(7)
	return ebx&avx2 != 0
}

// sumVectors returns a number that folds to the sum of b in little-endian 16-bit
// words. The length of b is a multiple of 32, and less than 16 GB, where the sum
// could overflow.
//
//go:noescape
func sumVectors(b []byte) uint64

func cpuid(leaf uint32) (eax, ebx, ecx uint32)

func xgetbv() uint32

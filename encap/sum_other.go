//go:build !amd64

package encap

const vectorsFrom = 0

// hasVectors reports that there is nothing faster than what the compiler makes
// of bits.Add64.
func hasVectors() bool { return false }

func sumVectors([]byte) uint64 { return 0 }

package routetable

import (
	"math/bits"
	"math/rand/v2"
)

// hashSeed makes the hash of a table its own, so that nobody who chooses MACs
// can have them meet in one place of it.
type hashSeed struct{ add, multiply uint64 }

func newHashSeed() hashSeed { return hashSeed{rand.Uint64(), rand.Uint64() | 1} }

// hash mixes all of key into all bits of the result. The upper ones choose the
// shard and the lower ones the place in its table.
func (s *hashSeed) hash(key uint64) uint64 {
	high, low := bits.Mul64(key^s.add, s.multiply)
	return high ^ low
}

package routetable

import (
	"math/bits"
	"math/rand/v2"
)

// hashSeed makes the hashes of a table its own, so that nobody who chooses MACs
// can have them meet in one place of it.
type hashSeed struct{ add, multiply uint64 }

func newHashSeed() hashSeed { return hashSeed{rand.Uint64(), rand.Uint64() | 1} }

// permute gives a key another number, and no two the same: each step can be taken back.
// Both are in the upper 48 bits. The uppermost choose the shard, and those
// behind them the place in its table.
func (s *hashSeed) permute(key uint64) uint64 {
	h := (key ^ s.add<<16) * s.multiply
	return (h ^ h>>24) &^ 0xffff * s.multiply
}

// hash mixes all of key into all bits of the result.
func (s *hashSeed) hash(key uint64) uint64 {
	high, low := bits.Mul64(key^s.add, s.multiply)
	return high ^ low
}

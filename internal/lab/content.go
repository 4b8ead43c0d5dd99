//go:build linux

package lab

import "io"

// block is a stretch of pseudo-random bytes twice as long as any datagram, of
// which each datagram is a slice.
var block = func() []byte {
	b := make([]byte, 1<<17)
	_, _ = io.ReadFull(newContent(0x77656674), b)
	return b
}()

// pattern returns the n bytes that a datagram of that size holds: of each size
// other ones, so that one cut short is not taken for a shorter one. They must
// not be written to.
func pattern(n int) []byte {
	const stride = 40503 // odd, so that 65536 sizes begin at 65536 places
	at := n * stride & 0xffff
	return block[at : at+n : at+n]
}

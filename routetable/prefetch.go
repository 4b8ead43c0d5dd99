//go:build amd64 || arm64

package routetable

import "unsafe"

// prefetch has the cache lines of two places fetched, which may be one. No load
// does that: until it has what it loads, the processor goes on for a few hundred
// instructions only.
//
//go:noescape
func prefetch(first, second unsafe.Pointer)

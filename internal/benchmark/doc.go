//go:build linux

// Package benchmark measures weft beside the kernel's vxlan device: on the same
// wire, in the same run, in rounds that take turns, so that what is reported is
// a ratio. bench/ runs all of it under `go test -bench`, `weft bench` a short
// version on a user's machine; both in namespaces of their own.
//
// A [Mode] is what the wire does for the hosts, a [Path] a way for packets
// between them, a [Work] the traffic that is sent over it. Each is a row of a
// table. A [Bed] is two hosts on one wire with the paths laid between them, a
// [Comparison] one work on several of these paths, in turns.
//
// The traffic is made and received in this process. What it costs is therefore
// in all figures, those of the paths that it is compared with included.
package benchmark

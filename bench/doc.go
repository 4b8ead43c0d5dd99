// Package bench measures weft beside the kernel's vxlan device: on the same
// wire, in the same run, in alternating rounds, so that what is reported is a
// ratio. It makes namespaces of its own and touches nothing else.
//
//	go test -bench . -benchtime 1x ./bench
//
// runs three rounds of everything, of one TCP stream over weft nine. What is measured, and how, is in
// internal/benchmark; results/ has what was measured last.
package bench

// Package bench measures weft beside the kernel's vxlan device: on the same
// wire, in the same run, in alternating rounds, so that what is reported is a
// ratio. It makes namespaces of its own and touches nothing else.
package bench

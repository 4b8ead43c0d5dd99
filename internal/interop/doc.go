// Package interop holds weft against the kernel's own vxlan device: its tests
// lay wires between hosts, put one of the two at each end, and look at what
// passes on the wire. They run weft as a user does, by its command line and
// the daemon that this starts.
package interop

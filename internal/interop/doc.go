// Package interop holds weft against the kernel's own vxlan device: its tests
// lay wires between hosts, put one of the two at each end, and look at what
// passes on the wire. They run weft as a user does, by its command line and
// the daemon that this starts.
//
// Most tests wait for the kernel, so they run beside each other (t.Parallel):
// hosts, run directories and processes are each test's own. Those that do not
// would disturb others or be disturbed: what has to come within milliseconds
// (freed), may not overrun a queue, keeps an order that is the processors' too,
// fills the neighbour table, which all namespaces share, or takes a frame on the
// wire for a sign that the device has its answer (proxied.pass).
package interop

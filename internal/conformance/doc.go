// Package conformance tells by meaning, as Go tests, what others have told of
// the kernel's vxlan device, or of their own, in scripts: the selftests of
// Linux, the tests of VPP and of Open vSwitch. docs/conformance.md lists every
// case, the test that stands for it and what a run shows.
//
// One body serves both kinds of device under test: the kernel's, which is the
// control (if it fails, the test is wrong), and weft. Peers are the kernel's.
// Nothing but Linux and Go is needed, as in package lab.
package conformance

//go:build linux

// Package lab builds small networks of real hosts on one machine, for tests,
// the demo and benchmarks, out of nothing but Linux and Go: no ip, tc, ethtool,
// tcpdump or ping is run.
//
// A program first enters a private world, [Enter] or [Main]: it runs itself
// again in its own mount and network namespaces (and, when it is not root, its
// own user namespace), so that nothing it does touches the machine and nothing
// is left of it afterwards. In that world a [Host] is a network namespace, a
// wire ([Connect]) is a veth pair, a [Switch] is a bridge. Hosts get the
// kernel's own vxlan device ([Host.AddKernelVXLAN]) to be the peer of the
// userspace one; they ping, transfer, inject and capture.
//
// Functions return errors and know nothing of the testing package, because the
// demo and the benchmarks have no *testing.T; tb.go has the few shorthands that
// tests want.
package lab

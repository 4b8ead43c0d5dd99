//go:build linux

// Package netfilter keeps the rules in the host's packet filter that let the
// traffic of a flannel network's containers pass: an accept where the host
// drops what it forwards, and a masquerade of what leaves the network. It runs
// no program, and its rules outlive the process, as the node's devices do.
//
// A host may use iptables over nf_tables, iptables-legacy, or neither. An
// accept ends a packet's way through one base chain alone, so that it has to
// stand in each chain that may drop, and the rules go where the host has its
// own:
//
//	iptables over nf_tables   table filter, FORWARD      → FLANNEL-FWD
//	                          table nat,    POSTROUTING  → FLANNEL-POSTRTG
//	iptables-legacy           the same names
//	neither, or EnableNFTables
//	                          tables flannel-ipv4 and flannel-ipv6,
//	                          chains forward and postrtg
//
// In the tables of iptables they have the form that iptables itself gives them,
// and it lists them. With EnableNFTables the accept goes into iptables' FORWARD
// all the same where there is one; flannel's does not, and is dropped there.
package netfilter

//go:build linux

// Package xtables reads and replaces the tables of iptables-legacy over the
// kernel's own interface, getsockopt and setsockopt on a raw socket, as that
// program does. A table is read and replaced as a whole; it is a row of entries
// that lie one behind the other and are as long as their own fields say:
//
//	offset 0                hook_entry[LOCAL_IN]
//	   │                    │ underflow[LOCAL_IN]
//	   ▼                    ▼
//	┌─────────┬─────────┬─────────┬─────────┬── ─ ─┬─────────┬─────────┬─ ─┬─────────┐
//	│ rule    │ rule    │ policy  │ rule    │      │ head    │ rule    │   │ RETURN  │ … ERROR
//	└─────────┴─────────┴─────────┴─────────┴── ─ ─┴─────────┴─────────┴─ ─┴─────────┘
//	└───────── INPUT ─────────────┘└─ FORWARD …    └──────── a chain of a user's ─────┘
//
// Each is a struct ipt_entry, or ip6t_entry, then matches, then one target:
//
//	┌──────────────┬─────────┬───────────────┬─────────────┬──────────┬──────────┐
//	│ addresses,   │ nfcache │ target_offset │ next_offset │ comefrom │ counters │
//	│ devices, …   │ u32     │ u16           │ u16         │ u32      │ 2 × u64  │
//	└──────────────┴─────────┴───────────────┴─────────────┴──────────┴──────────┘
//	  84 bytes, 136 for IPv6                                ▲ aligned to a u64's
//	┌──────┬──────────┬──────────┬────────┐┌──────┬──────────┬──────────┬────────┐
//	│ size │ name     │ revision │ data … ││ size │ name     │ revision │ data … │
//	│ u16  │ 29 bytes │ u8       │        ││      │          │          │        │
//	└──────┴──────────┴──────────┴────────┘└──────┴──────────┴──────────┴────────┘
//	 ▲ matches, from the end of the head    ▲ target, at target_offset
//
// A target without a name holds a verdict: less than zero it decides (ACCEPT is
// -2), else it is the offset of the entry to go on with, the first rule of a
// chain, or, where a rule has no target, the next entry. The head of a chain
// and the end of the table have the target ERROR, which holds a name. All
// numbers are the machine's own.
package xtables

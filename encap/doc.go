// Package encap holds what weft knows about bytes: the VXLAN header, the
// layout of the frames inside it, checksums, flow hashes, ECN, and the cutting
// and joining of super-frames. It opens nothing and calls no system: everything
// here works on memory that the caller owns.
//
// An encapsulated frame, as a UDP socket sends and receives it:
//
//	+----------------+----------------+-------------------------------+
//	| VXLAN (8)      | Ethernet (14+) | IP, TCP or UDP, payload …     |
//	+----------------+----------------+-------------------------------+
//	^ datagram       ^ Packet.Frame
//
// A frame may be a super-frame: one set of headers in front of many segments'
// payload, as TCP segmentation offload produces it. Packet.GSO then says how to
// cut it. Super-frames stay whole on their way through weft; they are cut by
// Segments when they are sent, and made by a Coalescer from what was received.
package encap

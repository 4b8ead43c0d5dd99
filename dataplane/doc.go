// Package dataplane moves packets between TAP devices and UDP sockets.
//
// One packet's way out, and in:
//
//	           transmit                         receive
//	device ─▶ tap.Device.Read               underlay.Receiver.Receive ◀─ socket
//	           │ ≤ 64 frames, whole            │ ≤ 64 messages
//	          Link.encapsulate              port.split, port.decapsulate
//	           │ FDB, outer header             │ VNI, every check, ECN
//	          underlay.Sender               encap.Coalescer
//	           │ segments, runs                │ super-frames
//	socket ◀─ Flush: sendmmsg, UDP_SEGMENT  tap.Device.Write ─▶ device
//
// A port owns the sockets of one UDP port, the links that share it, told apart
// by VNI, and one worker: a goroutine on a thread of its own that runs both
// directions to completion and sleeps only when nothing was left to do. All
// packet memory belongs to the tap.Batch or the underlay.Receiver that it was
// read into, until the next read; nothing on the way keeps it.
//
// Routed links, whose device carries IP packets, have routes in place of the
// FDB; their way is in routed.go, and in bare.go where UDP carries the packets
// without any header.
//
// That is Linux. On other systems, and on Linux with the build tag portable,
// which is for tests, songgao/water moves the device's frames and
// golang.org/x/net/ipv4 and ipv6 the datagrams, in the files named *_portable.go.
// Each device and socket then has a goroutine that waits for packets, and they
// handle what they read in turns. That path has no super-frames; DF, the IPv6
// flow label and outer checksums are as the system makes them; congestion marks
// of an outer IPv4 header are not seen; what the system dropped is not counted;
// and MTU and address of the device are the system's to set. AddLink refuses
// the words that it cannot follow.
package dataplane

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
package dataplane

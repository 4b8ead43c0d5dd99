package encap

// GreetingLen is the bytes of a greeting.
const GreetingLen = 8

// greeting is what a weft says to a peer of bare packets, so that the peer may send
// what others could not use: TCP and UDP packets whose checksum is left to a device,
// and super-frames that are left to be cut. A sender on the same machine, or behind a
// virtual device, does that by itself once the kernel wraps what it sends.
//
//	 0   1               5           7     8
//	+---+---------------+-----------+-----+
//	| 0 | "weft"        | 0         | 1   |
//	+---+---------------+-----------+-----+
//
// It lies behind an IP packet, where whoever takes the packet passes over it
// (RFC 894: padding is not part of the IP packet), or alone, where its first byte is
// no IP header's. The last byte is for more that a peer may be told; the lowest bit is
// the above.
var greeting = [GreetingLen]byte{0, 'w', 'e', 'f', 't', 0, 0, 1}

// AppendGreeting appends a greeting to a datagram.
func AppendGreeting(b []byte) []byte { return append(b, greeting[:]...) }

// IsGreeting reports whether b, all of a datagram or what lies behind the IP packet in
// it, is a greeting of a peer that takes unfinished packets.
func IsGreeting(b []byte) bool {
	return len(b) == GreetingLen && string(b[:GreetingLen-1]) == string(greeting[:GreetingLen-1]) && b[GreetingLen-1]&1 != 0
}

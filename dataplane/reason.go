package dataplane

// Reason says why a frame or datagram was not delivered. Each one that is not
// counts under exactly one Reason.
type Reason uint8

// Every reason for a drop, in the order in which statistics print them.
const (
	ShortHeader      Reason = iota // datagram shorter than a VXLAN header
	NoVNIFlag                      // I flag clear: no valid VNI (RFC 7348 §5)
	UnknownVNI                     // no link with this VNI on the port
	ReservedBits                   // a reserved bit set, which the kernel's device refuses
	ShortFrame                     // less than an Ethernet header inside
	OwnSource                      // inner source is the link's own MAC: a loop
	InvalidSource                  // inner source MAC is zero or multicast
	PinnedSource                   // inner source MAC is pinned to another remote
	SourceNotAllowed               // outer source is not in the allowed prefixes
	OtherHost                      // inner frame is for another MAC than the routed link's
	NotIP                          // neither IPv4 nor IPv6 inside, on a routed link
	BadLength                      // inner IP packet shorter than its fixed header, or cut off
	BadChecksum                    // outer UDP checksum wrong
	ECN                            // CE outside, Not-ECT inside (RFC 6040 §4.2)
	VLAN                           // inner VLAN tag refused by the profile
	NoRoute                        // the link's routes or the underlay's have none to the destination
	Proxy                          // ARP or neighbour solicitation kept by a proxy without an answer
	FDBMiss                        // no entry for the destination, no default remote
	TooBig                         // larger than the path carries and not to be fragmented
	TTLExpired                     // inner hop limit exhausted
	SendError                      // socket refused the datagram
	DeviceFull                     // device queue overflowed before the link read it
	DeviceDown                     // device administratively down
	SocketFull                     // receive buffer of the socket overflowed
	reasonCount
)

var reasonNames = [reasonCount]string{
	"short_header", "no_vni_flag", "unknown_vni", "reserved_bits", "short_frame",
	"own_source", "invalid_source", "pinned_source", "source_not_allowed",
	"other_host", "not_ip", "bad_length", "checksum", "ecn", "vlan", "no_route", "proxy", "fdb_miss",
	"too_big", "ttl", "send_error", "device_full", "device_down", "socket_full",
}

// String returns the name under which statistics show the reason.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return "unknown"
}

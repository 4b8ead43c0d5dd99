// Package subnetenv reads and writes the file by which flannel tells container
// runtimes of a node's subnet, and itself which one it had.
package subnetenv

import (
	"bytes"
	"fmt"
	"net/netip"
)

// DefaultPath is where flannel keeps the file unless it is told otherwise.
const DefaultPath = "/run/flannel/subnet.env"

// File is what the file says. A family that the network does not have is zero.
type File struct {
	Network, Subnet         netip.Prefix // Subnet without host bits
	IPv6Network, IPv6Subnet netip.Prefix
	MTU                     int
	IPMasq                  bool
}

// The names in the file.
const (
	keyNetwork     = "FLANNEL_NETWORK"
	keySubnet      = "FLANNEL_SUBNET"
	keyIPv6Network = "FLANNEL_IPV6_NETWORK"
	keyIPv6Subnet  = "FLANNEL_IPV6_SUBNET"
	keyMTU         = "FLANNEL_MTU"
	keyIPMasq      = "FLANNEL_IPMASQ"
)

// Encode returns the text of the file. In it a subnet stands as the address
// that the bridge of the containers takes, the first one behind its base.
func (f File) Encode() []byte {
	var b bytes.Buffer
	family(&b, keyNetwork, f.Network, keySubnet, f.Subnet)
	family(&b, keyIPv6Network, f.IPv6Network, keyIPv6Subnet, f.IPv6Subnet)
	fmt.Fprintf(&b, "%s=%d\n%s=%t\n", keyMTU, f.MTU, keyIPMasq, f.IPMasq)
	return b.Bytes()
}

func family(b *bytes.Buffer, networkKey string, network netip.Prefix, subnetKey string, subnet netip.Prefix) {
	if subnet.IsValid() {
		first := netip.PrefixFrom(subnet.Masked().Addr().Next(), subnet.Bits())
		fmt.Fprintf(b, "%s=%v\n%s=%v\n", networkKey, network, subnetKey, first)
	}
}

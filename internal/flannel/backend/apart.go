package backend

import (
	"fmt"
	"net/netip"
)

// Apart refuses a peer's subnet that overlaps with this node's own: a route to
// it would lead packets for this node's containers away. Neither need be there.
func Apart(own, peer netip.Prefix) error {
	if own.Overlaps(peer) {
		return fmt.Errorf("its subnet %v overlaps with %v, this node's own", peer, own)
	}
	return nil
}

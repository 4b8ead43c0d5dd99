package cli

import (
	"github.com/weftnet/weft/dataplane"
)

// Names of profiles.
const (
	profileKernel  = "kernel"
	profileRFC7348 = "rfc7348"
)

// profiles are what a link is before its words are read, which then change it.
var profiles = map[string]newLink{
	profileKernel: {},
	// RFC 7348 by its sections: the port and zero checksums of §5, the source
	// ports of §5, no fragments of §4.3, reserved bits ignored of §5, no inner
	// VLAN tags of §6.
	profileRFC7348: {hasPort: true, cfg: dataplane.LinkConfig{
		Profile: profileRFC7348,
		Port:    4789, SrcPortLow: 49152, SrcPortHigh: 65535,
		Checksum:       dataplane.Checksum{NoUDP: true, ZeroTx6: true, AcceptRx6: true},
		DF:             dataplane.DFSet,
		IgnoreReserved: true, DropVLAN: true,
	}},
}

func takeProfile(c *cursor, into *newLink) (err error) {
	into.profile, err = c.choice(profileKernel, profileRFC7348)
	return err
}

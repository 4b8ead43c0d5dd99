package cli

import (
	"strconv"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/routetable"
)

// routeLine is one line of `ip route`, under the keys and in the order of
// `ip -j route`, with what the kernel's routes have not behind.
type routeLine struct {
	Dst   string   `json:"dst"`
	Via   string   `json:"gateway"`
	Dev   string   `json:"dev,omitempty"`
	MAC   string   `json:"lladdr,omitempty"`
	VNI   *uint32  `json:"vni,omitempty"`
	Port  uint16   `json:"port,omitempty"`
	Match string   `json:"match,omitempty"` // of a destination, the prefix that it is in
	Flags []string `json:"flags"`
}

// routeLine describes a route of the link. As in the FDB, what is the link's own
// is not told.
func (l *foundLink) routeLine(e *dataplane.RouteEntry) routeLine {
	line := routeLine{Dst: prefixText(e), Via: e.Via.String(), Dev: l.device.Name, Flags: []string{}}
	if e.MAC != (routetable.MAC{}) {
		line.MAC = e.MAC.String()
	}
	if e.VNI != l.info.VNI {
		line.VNI = &e.VNI
	}
	if e.Port != l.info.Port {
		line.Port = e.Port
	}
	return line
}

// prefixText is how ip writes a prefix: without the length of a single host's,
// and as default where it is all of
// IPv4.
func prefixText(e *dataplane.RouteEntry) string {
	switch {
	case e.Prefix.Bits() == 0 && e.Prefix.Addr().Is4():
		return "default"
	case e.Prefix.IsSingleIP():
		return e.Prefix.Addr().String()
	}
	return e.Prefix.String()
}

// appendText appends the line as `ip route` prints it: each word is followed by
// a blank.
func (l *routeLine) appendText(b []byte) []byte {
	word := func(name, value string) {
		if value != "" {
			b = append(append(append(append(b, name...), ' '), value...), ' ')
		}
	}
	b = append(append(b, l.Dst...), ' ')
	word("via", l.Via)
	word("dev", l.Dev)
	word("lladdr", l.MAC)
	if l.VNI != nil {
		word("vni", strconv.FormatUint(uint64(*l.VNI), 10))
	}
	word("port", unlessZero(int(l.Port)))
	return append(b, '\n')
}

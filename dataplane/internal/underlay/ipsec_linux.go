//go:build !portable

package underlay

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ipsecPolicies tells whether the namespace has IPsec policies: what does not
// leave by a socket goes past them, and would leave in the clear.
type ipsecPolicies struct {
	sockets map[int]*nl.SocketHandle // nil: a kernel without IPsec
}

func openIPsecPolicies() *ipsecPolicies {
	s, err := nl.Subscribe(unix.NETLINK_XFRM)
	if err != nil {
		return &ipsecPolicies{}
	}
	return &ipsecPolicies{map[int]*nl.SocketHandle{unix.NETLINK_XFRM: {Socket: s}}}
}

func (p *ipsecPolicies) close() {
	for _, s := range p.sockets {
		s.Close()
	}
}

// xfrmaSPDInfo is the attribute with struct xfrmu_spdinfo, of which the second
// word counts policies for what is sent (linux/xfrm.h).
const xfrmaSPDInfo = 1

// any reports whether there is a policy for what is sent, or may be: a kernel
// that does not say might have one.
func (p *ipsecPolicies) any() bool {
	if p.sockets == nil {
		return false
	}
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_GETSPDINFO, 0)
	req.Sockets = p.sockets
	req.AddRawData(make([]byte, 4)) // flags, of which there are none
	found, err := req.Execute(unix.NETLINK_XFRM, 0)
	if err != nil || len(found) == 0 || len(found[0]) < 4 {
		return true
	}
	attrs, err := nl.ParseRouteAttr(found[0][4:])
	if err != nil {
		return true
	}
	for _, a := range attrs {
		if a.Attr.Type == xfrmaSPDInfo && len(a.Value) >= 8 {
			return binary.NativeEndian.Uint32(a.Value[4:]) > 0
		}
	}
	return true
}

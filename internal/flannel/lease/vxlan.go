package lease

import (
	"encoding/json"
	"fmt"
	"net"

	"github.com/weftnet/weft/routetable"
)

// VXLAN is what a node of the vxlan backend tells its peers. Those on Linux
// heed the MAC alone and take the VNI from their own config.
type VXLAN struct {
	VNI     uint32
	VtepMAC routetable.MAC
}

// Encode returns BackendData or BackendV6Data.
func (v VXLAN) Encode() json.RawMessage {
	return fmt.Appendf(nil, `{"VNI":%d,"VtepMAC":%q}`, v.VNI, v.VtepMAC.String())
}

// ParseVXLAN reads BackendData or BackendV6Data. Before v0.14 flannel wrote no
// VNI, which is read as 0.
func ParseVXLAN(data json.RawMessage) (VXLAN, error) {
	var w struct {
		VNI     uint32
		VtepMAC string
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return VXLAN{}, fmt.Errorf("what the lease says of its vxlan device is not understood: %w", err)
	}
	mac, err := net.ParseMAC(w.VtepMAC)
	if err != nil || len(mac) != len(routetable.MAC{}) {
		return VXLAN{}, fmt.Errorf("the lease has no VtepMAC: found %q", w.VtepMAC)
	}
	return VXLAN{w.VNI, routetable.MAC(mac)}, nil
}

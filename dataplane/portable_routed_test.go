//go:build linux && portable

package dataplane_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"testing"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/routetable"
)

// endRoutes holds the routes of an end's first link.
const endRoutes = actAsEnd + "_ROUTES"

func addRoutes(l *dataplane.Link) error {
	var routes []dataplane.RouteChange
	if err := json.Unmarshal([]byte(os.Getenv(endRoutes)), &routes); err != nil {
		return err
	}
	for i := range routes {
		if err := l.ChangeRoute(&routes[i]); err != nil {
			return err
		}
	}
	return nil
}

// TestPortableRouted has links that carry IP packets at both ends.
func TestPortableRouted(t *testing.T) {
	lab.NeedTUN(t)
	macs := [2]routetable.MAC{{2, 1}, {2, 2}}
	for name, kind := range map[string]dataplane.LinkConfig{
		"udp": {Type: dataplane.TypeUDP, Port: 8285}, "l3": {VNI: vni, Port: port, L3: true},
	} {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(name+"/"+u.name, func(t *testing.T) {
				ha, hb := lab.TestPair(t)
				check(t, ha.AddAddr("eth0", netip.PrefixFrom(u.a, u.a.BitLen())))
				var ends [2]*end
				for i, e := range []struct {
					host        *lab.Host
					local, peer netip.Addr
					addrs, to   []netip.Prefix
				}{{ha, u.a, u.b, innerA, innerB}, {hb, u.b, u.a, innerB, innerA}} {
					cfg := kind
					cfg.Name, cfg.Local = device, e.local
					var routes []dataplane.RouteChange
					for _, p := range e.to {
						r := dataplane.RouteChange{Op: dataplane.RouteAdd, Prefix: p.Masked(), Via: e.peer}
						if cfg.L3 {
							cfg.Address, r.MAC = macs[i].String(), macs[1-i]
						}
						routes = append(routes, r)
					}
					ends[i] = spawnEnd(t, e.host, []dataplane.LinkConfig{cfg}, routes, 1400, e.addrs)
				}
				pings(t, ends[0], ends[1])
				transfers(t, ends[0], ends[1])
				for _, e := range ends {
					s := e.stop(t).Stats
					if s.RxPackets < 100 || s.TxPackets < 100 || s.Drops["not_ip"]+s.Drops["bad_length"]+s.Drops["other_host"] > 0 {
						t.Errorf("%+v", s)
					}
				}
			})
		}
	}
}

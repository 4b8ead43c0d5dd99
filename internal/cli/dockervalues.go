package cli

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/dump"
)

// options are the variables DOCKER_OPT_…, those that were there included.
func (o dockerOpts) options(vars map[string]string) (map[string]string, error) {
	options := map[string]string{}
	for name, value := range vars {
		if strings.HasPrefix(name, dockerOptPrefix) {
			options[name] = value
		}
	}
	if subnet := vars["FLANNEL_SUBNET"]; subnet != "" {
		if _, err := netip.ParsePrefix(subnet); err != nil {
			return nil, o.invalid("FLANNEL_SUBNET", subnet, "an address with its length, as 10.1.74.1/24")
		}
		options[dockerOptPrefix+"BIP"] = "--bip=" + subnet
	}
	if mtu := vars["FLANNEL_MTU"]; mtu != "" {
		if n, err := strconv.ParseUint(mtu, 10, 16); err != nil || n == 0 {
			return nil, o.invalid("FLANNEL_MTU", mtu, "a number of bytes, as 1450")
		}
		options[dockerOptPrefix+"MTU"] = "--mtu=" + mtu
	}
	if o.noMasq {
		return options, nil
	}
	switch masq := vars["FLANNEL_IPMASQ"]; masq {
	case "":
	case "true":
		options[dockerOptPrefix+"IPMASQ"] = "--ip-masq=false"
	case "false":
		options[dockerOptPrefix+"IPMASQ"] = "--ip-masq=true"
	default:
		return nil, o.invalid("FLANNEL_IPMASQ", masq, "true or false")
	}
	return options, nil
}

func (o dockerOpts) invalid(name, value, wanted string) error {
	return fmt.Errorf("invalid value of %s in %s: %s: wanted is %s", name, o.from, value, wanted)
}

// routedElsewhere is the script's last look: where the node's own subnet has a
// route by way of a gateway, packets to its containers leave the host.
func routedElsewhere(subnet string) error {
	p, err := netip.ParsePrefix(subnet)
	if err != nil {
		return nil // there is none
	}
	routes, err := dump.Consistent(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("look whether the subnet is routed elsewhere: %w", err)
	}
	return clash(routes, p.Masked())
}

func clash(routes []netlink.Route, subnet netip.Prefix) error {
	for i := range routes {
		if r := &routes[i]; r.Dst != nil && r.Dst.String() == subnet.String() && r.Gw != nil {
			return fmt.Errorf("this host routes its own subnet elsewhere: %v via %v; packets to its containers would leave it. "+
				"The options are written; take the route away (ip route del %v via %v) before Docker starts", subnet, r.Gw, subnet, r.Gw)
		}
	}
	return nil
}

package dataplane

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/routetable"
)

// resolved is a LinkConfig with everything that only this machine knows.
type resolved struct {
	cfg             LinkConfig // MTU filled in
	devIndex        int
	address         net.HardwareAddr // nil = as the kernel chooses; of a link with L3 never
	srcLow, srcHigh uint16
}

// Room that encapsulation takes from the underlay's MTU, counted against the
// inner IP packet: outer IP, UDP 8, VXLAN 8, inner Ethernet 14.
const (
	overhead4 = 20 + 8 + 8 + 14
	overhead6 = 40 + 8 + 8 + 14

	overheadVXLAN = 8 + 14 // of which bare IP packets have none

	defaultMTU = 1500
	minMTU     = 68    // RFC 791
	maxMTU     = 65521 // of a TAP device
	maxMTUTUN  = 65535 // of a TUN device

	maxName = 15 // bytes
)

// resolve checks a configuration against the machine and completes it.
func resolve(cfg LinkConfig) (*resolved, error) {
	r := &resolved{cfg: cfg}
	for _, step := range []func() error{r.checkName, r.checkSystem, r.checkType, r.checkScopes, r.resolveAddress, r.resolveDev, r.resolveSourcePorts} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// checkName takes what Linux takes as the name of a device.
func (r *resolved) checkName() error {
	if n := len(r.cfg.Name); n == 0 || n > maxName {
		return fmt.Errorf("device name %q: 1 to %d bytes are allowed", r.cfg.Name, maxName)
	}
	return nil
}

// checkType refuses what a link of its type cannot have.
func (r *resolved) checkType() error {
	c := &r.cfg
	switch c.Type {
	case "", TypeVXLAN, TypeUDP:
	default:
		return fmt.Errorf("type %q is unknown: allowed are %s, %s", c.Type, TypeVXLAN, TypeUDP)
	}
	for _, w := range []struct {
		word          string
		given, refuse bool
	}{
		{"group", c.Remote.IsMulticast(), c.Routed()},
		{"proxy", c.Proxy, c.Routed()},
		{"l2miss", c.L2Miss, c.Routed()},
		{"l3miss", c.L3Miss, c.Routed()},
		{"maxaddress", c.MaxAddress != 0, c.Routed()},
		{"id", c.VNI != 0, c.Bare()},
		{"remote", c.Remote.IsValid(), c.Bare()},
		{"address", c.Address != "", c.Bare()},
		{"l3", c.L3, c.Bare()},
		{"srcport", c.SrcPortLow != c.SrcPortHigh, c.Bare()},
		{"a link-local address", c.Local.IsLinkLocalUnicast() && c.Local.Is6(), c.Bare()},
	} {
		if w.given && w.refuse {
			return fmt.Errorf("%s: a link %s has none: leave it out", w.word, c.kind())
		}
	}
	return nil
}

// createDevice makes a TAP or TUN device of the link's name.
func (r *resolved) createDevice(portable bool) (*tap.Device, error) {
	if r.cfg.Routed() {
		return tap.OpenTUN(r.cfg.Name, portable, r.cfg.headroom())
	}
	return tap.Open(r.cfg.Name, portable)
}

// kind says what a link is, as messages say it.
func (c *LinkConfig) kind() string {
	switch {
	case c.Bare():
		return "of type udp"
	case c.L3:
		return "of type vxlan with l3"
	}
	return "of type vxlan"
}

// portWord is the word that the link's port is given with.
func (c *LinkConfig) portWord() string {
	if c.Bare() {
		return "port"
	}
	return "dstport"
}

// checkScopes refuses what the kernel refuses.
func (r *resolved) checkScopes() error {
	remote, local := r.cfg.Remote, r.cfg.Local
	if r.cfg.VNI > MaxVNI {
		return fmt.Errorf("id %d: 0 to %d are allowed", r.cfg.VNI, MaxVNI)
	}
	if remote.IsValid() && local.IsValid() && remote.Is4() != local.Is4() {
		return fmt.Errorf("remote %s and local %s are of different address families", remote, local)
	}
	if remote.IsMulticast() && r.cfg.Dev == "" {
		return fmt.Errorf("group %s needs dev, the device on which to join it", remote)
	}
	if local.IsMulticast() {
		return fmt.Errorf("local %s is a multicast address: the address of one host is wanted", local)
	}
	if remote.IsLinkLocalUnicast() && remote.Is6() {
		if !local.IsLinkLocalUnicast() || r.cfg.Dev == "" {
			return fmt.Errorf("remote %s is link-local: it needs a link-local local address and dev", remote)
		}
	}
	return nil
}

func (r *resolved) resolveAddress() error {
	if r.cfg.Address == "" {
		r.chooseAddress()
		return nil
	}
	mac, err := net.ParseMAC(r.cfg.Address)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || routetable.MAC(mac) == (routetable.MAC{}) {
		return fmt.Errorf("address %q: a unicast Ethernet address such as 02:00:00:00:00:01 is wanted", r.cfg.Address)
	}
	if !r.cfg.L3 {
		r.address = mac
	}
	return nil
}

// resolveDev finds the underlay device and fits the MTU to it: as in the
// kernel, a larger one is clamped without a word. Without dev it is 1500, less
// the outer headers for bare packets, which the kernel has no device for.
func (r *resolved) resolveDev() error {
	limit, fallback := maxMTU, defaultMTU
	if r.cfg.Routed() {
		limit = maxMTUTUN
	}
	if r.cfg.Bare() {
		fallback -= r.cfg.overhead()
	}
	if r.cfg.Dev != "" {
		index, mtu, err := underlayDevice(r.cfg.Dev)
		if err != nil {
			return fmt.Errorf("dev %s: %w", r.cfg.Dev, err)
		}
		r.devIndex = index
		limit = max(minMTU, mtu-r.cfg.overhead())
		fallback = limit
	}
	if r.cfg.MTU == 0 {
		r.cfg.MTU = fallback
	}
	if r.cfg.MTU < minMTU || r.cfg.MTU > 65535 {
		return fmt.Errorf("mtu %d: %d to 65535 are allowed", r.cfg.MTU, minMTU)
	}
	r.cfg.MTU = min(r.cfg.MTU, limit)
	return nil
}

// overhead is what the outer headers take from the underlay's MTU.
func (c *LinkConfig) overhead() int {
	n := overhead4
	if c.IPv6() {
		n = overhead6
	}
	if c.Bare() {
		n -= overheadVXLAN
	}
	return n
}

// resolveSourcePorts takes the configured range or the system's, which is half
// open here as it is in the kernel.
func (r *resolved) resolveSourcePorts() (err error) {
	r.srcLow, r.srcHigh = r.cfg.SrcPortLow, r.cfg.SrcPortHigh
	if r.srcLow > r.srcHigh {
		return fmt.Errorf("srcport %d %d: the first must not be above the second", r.srcLow, r.srcHigh)
	}
	if r.srcLow < r.srcHigh {
		return nil
	}
	r.srcLow, r.srcHigh, err = localPortRange()
	return err
}

// localPortRange is where the system takes source ports from. Only Linux tells;
// others keep to the ports that RFC 6335 §6 leaves free for it.
func localPortRange() (low, high uint16, err error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if errors.Is(err, os.ErrNotExist) {
		return 49152, 65535, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("source port range: %w", err)
	}
	if _, err := fmt.Sscan(strings.TrimSpace(string(text)), &low, &high); err != nil {
		return 0, 0, fmt.Errorf("source port range %q: %w", text, err)
	}
	return low, high, nil
}

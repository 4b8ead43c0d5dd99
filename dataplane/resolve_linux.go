package dataplane

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/routetable"
	"golang.org/x/sys/unix"
)

// resolved is a LinkConfig with everything that only this machine knows.
type resolved struct {
	cfg             LinkConfig // MTU filled in
	devIndex        int
	address         net.HardwareAddr // nil = as the kernel chooses
	srcLow, srcHigh uint16
}

// Room that encapsulation takes from the underlay's MTU, counted against the
// inner IP packet: outer IP, UDP 8, VXLAN 8, inner Ethernet 14.
const (
	overhead4 = 20 + 8 + 8 + 14
	overhead6 = 40 + 8 + 8 + 14

	defaultMTU = 1500
	minMTU     = 68    // RFC 791
	maxMTU     = 65521 // of a TAP device
)

// resolve checks a configuration against the machine and completes it.
func resolve(cfg LinkConfig) (*resolved, error) {
	r := &resolved{cfg: cfg}
	for _, step := range []func() error{r.checkName, r.checkScopes, r.resolveAddress, r.resolveDev, r.resolveSourcePorts} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// checkName makes sure that the name is free: a persistent TAP device of that
// name would be taken over without a word.
func (r *resolved) checkName() error {
	name := r.cfg.Name
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return fmt.Errorf("device name %q: 1 to %d bytes are allowed", name, unix.IFNAMSIZ-1)
	}
	have, err := netlink.LinkByName(name)
	if err == nil {
		return fmt.Errorf("interface %s exists already (type %s): choose another name or delete it: %w", name, have.Type(), os.ErrExist)
	}
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	return fmt.Errorf("look for interface %s: %w", name, err)
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
	if remote.IsLinkLocalUnicast() && remote.Is6() {
		if !local.IsLinkLocalUnicast() || r.cfg.Dev == "" {
			return fmt.Errorf("remote %s is link-local: it needs a link-local local address and dev", remote)
		}
	}
	return nil
}

func (r *resolved) resolveAddress() error {
	if r.cfg.Address == "" {
		return nil
	}
	mac, err := net.ParseMAC(r.cfg.Address)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || routetable.MAC(mac) == (routetable.MAC{}) {
		return fmt.Errorf("address %q: a unicast Ethernet address such as 02:00:00:00:00:01 is wanted", r.cfg.Address)
	}
	r.address = mac
	return nil
}

// resolveDev finds the underlay device and fits the MTU to it: as in the
// kernel, a larger one is clamped without a word. Without dev it is 1500.
func (r *resolved) resolveDev() error {
	limit := maxMTU
	fallback := defaultMTU
	if r.cfg.Dev != "" {
		dev, err := netlink.LinkByName(r.cfg.Dev)
		if err != nil {
			return fmt.Errorf("dev %s: %w", r.cfg.Dev, err)
		}
		r.devIndex = dev.Attrs().Index
		limit = max(minMTU, dev.Attrs().MTU-r.overhead())
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

func (r *resolved) overhead() int {
	if r.cfg.IPv6() {
		return overhead6
	}
	return overhead4
}

// resolveSourcePorts takes the configured range or the system's, which is half
// open here as it is in the kernel.
func (r *resolved) resolveSourcePorts() error {
	r.srcLow, r.srcHigh = r.cfg.SrcPortLow, r.cfg.SrcPortHigh
	if r.srcLow > r.srcHigh {
		return fmt.Errorf("srcport %d %d: the first must not be above the second", r.srcLow, r.srcHigh)
	}
	if r.srcLow < r.srcHigh {
		return nil
	}
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return fmt.Errorf("source port range: %w", err)
	}
	if _, err := fmt.Sscan(strings.TrimSpace(string(text)), &r.srcLow, &r.srcHigh); err != nil {
		return fmt.Errorf("source port range %q: %w", text, err)
	}
	return nil
}

// gsoMaxSize keeps a TCP super-frame together with the headers of all its
// segments below the 65507 bytes of one message at the usual MTU.
const gsoMaxSize = 62000

// openDevice creates the TAP device as configured.
func openDevice(r *resolved) (*tap.Device, *attributes, error) {
	device, err := tap.Open(r.cfg.Name, r.cfg.NoOffload)
	if err != nil {
		return nil, nil, err
	}
	attrs, err := r.configure(device)
	if err != nil {
		device.Close()
		return nil, nil, err
	}
	return device, attrs, nil
}

func (r *resolved) configure(device *tap.Device) (*attributes, error) {
	link, err := netlink.LinkByName(r.cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", r.cfg.Name, err)
	}
	if err := netlink.LinkSetMTU(link, r.cfg.MTU); err != nil {
		return nil, fmt.Errorf("set mtu %d of %s: %w", r.cfg.MTU, r.cfg.Name, err)
	}
	if r.address != nil {
		if err := netlink.LinkSetHardwareAddr(link, r.address); err != nil {
			return nil, fmt.Errorf("set address %s of %s: %w", r.address, r.cfg.Name, err)
		}
	}
	if device.Offloads().TCP {
		// Without it super-frames take two messages; kernels before 4.16
		// cannot set it.
		_ = netlink.LinkSetGSOMaxSize(link, gsoMaxSize)
		_ = netlink.LinkSetGSOIPv4MaxSize(link, gsoMaxSize)
	}
	return readAttributes(device)
}

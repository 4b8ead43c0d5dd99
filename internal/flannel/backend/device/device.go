// Package device gives the devices of backends what flannel gives them, and
// tells when somebody else touches them.
//
// All of it is about the network namespace of the calling thread.
package device

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/dump"
)

// Find returns the device called name, or nil if there is none.
func Find(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", name, err)
	}
	return l, nil
}

// Delete deletes a device, and with it all that is programmed on it.
func Delete(name string) error {
	l, err := Find(name)
	if l == nil {
		return err
	}
	if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete device %s: %w", name, err)
	}
	return nil
}

// SetMTU sets a device's MTU where it is another one.
func SetMTU(l netlink.Link, mtu int) error {
	if l.Attrs().MTU == mtu {
		return nil
	}
	if err := netlink.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("device %s: set mtu %d: %w", l.Attrs().Name, mtu, err)
	}
	return nil
}

// BringUp brings a device up, and reports whether it was down.
func BringUp(l netlink.Link) (was bool, err error) {
	if l.Attrs().Flags&net.FlagUp != 0 {
		return false, nil
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return true, fmt.Errorf("device %s: bring it up: %w", l.Attrs().Name, err)
	}
	return true, nil
}

// IgnoreAdvertisements has the device make nothing of router advertisements,
// which a container might send. Where the kernel has no IPv6 there are none.
func IgnoreAdvertisements(name string) error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_ra", []byte("0"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("device %s: %w", name, err)
	}
	return nil
}

// SetAddress gives a device an address, alone, as flannel does, and takes away
// others that are in the same network: those of a subnet that the node had
// before. It reports whether there was anything to do.
func SetAddress(l netlink.Link, addr netip.Addr, network netip.Prefix) (changed bool, err error) {
	name := l.Attrs().Name
	have, err := addresses(l, familyOf(addr))
	if err != nil {
		return false, fmt.Errorf("addresses of %s: %w", name, err)
	}
	wanted := netip.PrefixFrom(addr, addr.BitLen())
	var others []netlink.Addr
	there := false
	for _, a := range have {
		switch p := Prefix(a.IPNet); {
		case p == wanted:
			there = true
		case network.Contains(p.Addr()):
			others = append(others, a)
		}
	}
	if !there { // first, since the last address of a device takes its routes along
		if err := netlink.AddrAdd(l, newAddress(wanted)); err != nil && !errors.Is(err, unix.EEXIST) {
			return false, fmt.Errorf("give %s the address %v: %w", name, wanted, err)
		}
	}
	for i := range others {
		if err := netlink.AddrDel(l, &others[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return true, fmt.Errorf("take the address %v from %s: %w", others[i].IPNet, name, err)
		}
	}
	return !there || len(others) > 0, nil
}

// Addresses returns the addresses of one family that a device has.
func Addresses(name string, family int) ([]netip.Prefix, error) {
	l, err := Find(name)
	if l == nil {
		return nil, err
	}
	have, err := addresses(l, family)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", name, err)
	}
	all := make([]netip.Prefix, len(have))
	for i := range have {
		all[i] = Prefix(have[i].IPNet)
	}
	return all, nil
}

// addresses reads those of a device, or of all for nil.
func addresses(l netlink.Link, family int) ([]netlink.Addr, error) {
	return dump.Consistent(func() ([]netlink.Addr, error) { return netlink.AddrList(l, family) })
}

// newAddress is usable at once: nobody on an overlay answers whether an IPv6
// address is taken.
func newAddress(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: IPNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// Holds reports whether an address is one of this namespace's own.
func Holds(addr netip.Addr) (bool, error) {
	all, err := addresses(nil, familyOf(addr))
	if err != nil {
		return false, fmt.Errorf("addresses of this host: %w", err)
	}
	for _, a := range all {
		if Prefix(a.IPNet).Addr() == addr {
			return true, nil
		}
	}
	return false, nil
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// IPNet is p as netlink takes it.
func IPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Prefix is n as the kernel gave it; the zero Prefix for nil.
func Prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits)
}

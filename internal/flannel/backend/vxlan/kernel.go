package vxlan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/internal/flannel/dump"
	"github.com/weftnet/weft/routetable"
)

// kernelDevice is the datapath of the kernel's own device.
type kernelDevice struct {
	want *want
}

func (kernelDevice) kind() Datapath { return Kernel }

// isVXLAN reports whether a device is the kernel's with the VNI.
func isVXLAN(l netlink.Link, vni uint32) bool {
	v, ok := l.(*netlink.Vxlan)
	return ok && v.VxlanId == int(vni)
}

func (k kernelDevice) agrees(_ context.Context, l netlink.Link) (bool, error) {
	have, ok := l.(*netlink.Vxlan)
	if !ok {
		return false, nil
	}
	wanted, err := k.device()
	if err != nil {
		return false, err
	}
	return have.VxlanId == wanted.VxlanId && have.VtepDevIndex == wanted.VtepDevIndex && have.SrcAddr.Equal(wanted.SrcAddr) &&
		(len(have.Group) == 0 || have.Group.IsUnspecified()) && have.Port == wanted.Port && have.Learning == wanted.Learning && have.GBP == wanted.GBP &&
		!have.FlowBased && !have.Proxy && !have.RSC && !have.L2miss && !have.L3miss, nil
}

// device is the device as flannel makes it.
func (k kernelDevice) device() (*netlink.Vxlan, error) {
	under, err := netlink.LinkByName(k.want.dev)
	if err != nil {
		return nil, fmt.Errorf("underlay device %s: %w", k.want.dev, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = k.want.name, k.want.mtu
	return &netlink.Vxlan{
		LinkAttrs: attrs, VxlanId: int(k.want.vni), VtepDevIndex: under.Attrs().Index, SrcAddr: k.want.local.AsSlice(),
		Port: int(k.want.port), Learning: k.want.learning, GBP: k.want.gbp,
	}, nil
}

// create makes the device and brings it up, for only then it has its port.
func (k kernelDevice) create(_ context.Context, mac routetable.MAC) error {
	v, err := k.device()
	if err != nil {
		return err
	}
	v.HardwareAddr = mac[:]
	if err := netlink.LinkAdd(v); err != nil {
		return fmt.Errorf("make the kernel's vxlan device: %w", explainCreate(err))
	}
	err = device.IgnoreAdvertisements(k.want.name)
	if err == nil {
		err = k.bringUp(v)
	}
	if err != nil {
		_ = netlink.LinkDel(v)
	}
	return err
}

func (k kernelDevice) recreate(ctx context.Context, mac routetable.MAC) error {
	return k.create(ctx, mac)
}

func (k kernelDevice) bringUp(v *netlink.Vxlan) error {
	err := netlink.LinkSetUp(v)
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("UDP port %d is taken by another program or by the daemon of this network namespace: %w", k.want.port, err)
	}
	if err != nil {
		return fmt.Errorf("bring the kernel's vxlan device up: %w", err)
	}
	return nil
}

// explainCreate says what an errno means here.
func explainCreate(err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: this kernel has no vxlan; the module may be in a package of its own", err)
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: another vxlan device has this VNI and port", err)
	}
	return err
}

func (k kernelDevice) entries(_ context.Context, index int) (map[routetable.MAC]netip.Addr, error) {
	all, err := dump.Consistent(func() ([]netlink.Neigh, error) {
		return netlink.NeighListExecute(netlink.Ndmsg{Family: unix.AF_BRIDGE, Index: uint32(index)})
	})
	if err != nil {
		return nil, fmt.Errorf("read the FDB: %w", err)
	}
	found := map[routetable.MAC]netip.Addr{}
	for i := range all {
		e := &all[i]
		if e.State&netlink.NUD_PERMANENT == 0 || e.Flags&netlink.NTF_SELF == 0 || len(e.HardwareAddr) != 6 {
			continue
		}
		dst, _ := netip.AddrFromSlice(e.IP)
		if e.VNI != 0 && e.VNI != int(k.want.vni) {
			dst = netip.Addr{}
		}
		found[routetable.MAC(e.HardwareAddr)] = dst.Unmap()
	}
	delete(found, routetable.MAC{})
	return found, nil
}

// batch is any number: each entry is a request.
func (kernelDevice) batch() int { return unlimited }

func (k kernelDevice) replace(ctx context.Context, index int, part []fdbEntry) map[routetable.MAC]error {
	return eachOf(ctx, part, func(h *netlink.Handle, e fdbEntry) error {
		return h.NeighSet(fdbNeigh(index, e))
	})
}

func (k kernelDevice) remove(ctx context.Context, index int, part []fdbEntry) map[routetable.MAC]error {
	return eachOf(ctx, part, func(h *netlink.Handle, e fdbEntry) error {
		return unlessGone(h.NeighDel(fdbNeigh(index, e)))
	})
}

func fdbNeigh(index int, e fdbEntry) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF,
		IP: e.Value.AsSlice(), HardwareAddr: net.HardwareAddr(e.Key[:]),
	}
}

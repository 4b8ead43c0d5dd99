//go:build !portable

package shortcut

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// joiner is a private pair of veth devices through which TCP segments go after
// their outer headers were taken off: the kernel joins the segments of a flow
// (GRO) where they come out. Without, each would make the whole way through the
// stack alone, which costs more than all the rest. The kernel's own tunnel
// devices do the same, by means that no program has (gro_cells).
type joiner struct {
	netlink *netlink.Handle // in the namespace of the pair
	in      int             // index of the device that segments are given to
	name    string
	joined  attachment // of what comes out
}

// joinerName has the number of the pair put in, and a letter for its end.
const joinerName = "weft-rx%d%s"

// open makes the pair, in the calling thread's network namespace.
func (j *joiner) open(t *Table) error {
	steps := []func() error{
		func() (err error) { j.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); return err },
		j.create,
		func() error { return setFeature(j.name+"a", unix.ETHTOOL_STSO, 0) }, // or it does not join
		func() error { return setFeature(j.name+"b", unix.ETHTOOL_SGRO, 1) },
		func() error { return j.joined.load("weft_join", t.joinedProgram()) },
		j.start,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			j.close()
			return fmt.Errorf("a pair of veth devices to join segments: %w", err)
		}
	}
	return nil
}

// create takes the first free number.
func (j *joiner) create() error {
	for n := range 64 {
		name := fmt.Sprintf(joinerName, n, "")
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = name+"a", 65535
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: name + "b", PeerMTU: 65535}
		err := j.netlink.LinkAdd(pair)
		if errors.Is(err, unix.EEXIST) && j.reclaim(name) {
			err = j.netlink.LinkAdd(pair)
		}
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		j.name = name
		return err
	}
	return errors.New("64 of them are there already")
}

// reclaim deletes a pair that a process has left which was killed: one that is up
// and has no program, which goes with its process. It reports whether it did.
func (j *joiner) reclaim(name string) bool {
	end, err := j.netlink.LinkByName(name + "b")
	if err != nil || end.Attrs().Flags&net.FlagUp == 0 {
		return false
	}
	found, err := link.QueryPrograms(link.QueryOptions{Target: end.Attrs().Index, Attach: ebpf.AttachTCXIngress})
	return err == nil && len(found.Programs) == 0 && j.netlink.LinkDel(end) == nil
}

// start brings both ends up, without addresses.
func (j *joiner) start() error {
	for _, end := range []string{"b", "a"} {
		device, err := j.netlink.LinkByName(j.name + end)
		if err != nil {
			return err
		}
		if end == "b" {
			if err := j.joined.attach(device.Attrs().Index, ebpf.AttachTCXIngress); err != nil {
				return err
			}
		}
		if err := quietUp(j.netlink, device); err != nil {
			return err
		}
		j.in = device.Attrs().Index
	}
	return nil
}

// quietUp brings a device up without addresses.
func quietUp(h *netlink.Handle, device netlink.Link) error {
	// Fails where there is no IPv6.
	_ = h.LinkSetIP6AddrGenMode(device, addrGenModeNone)
	return h.LinkSetUp(device)
}

const addrGenModeNone = 1 // IN6_ADDR_GEN_MODE_NONE (linux/if_link.h)

func (j *joiner) close() {
	j.joined.close()
	if j.name != "" {
		if device, err := j.netlink.LinkByName(j.name + "a"); err == nil {
			_ = j.netlink.LinkDel(device)
		}
	}
	if j.netlink != nil {
		j.netlink.Close()
	}
	*j = joiner{}
}

// setFeature switches an offload of a device.
func setFeature(name string, command, on uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	value := struct{ command, data uint32 }{command, on}
	req := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}{data: unsafe.Pointer(&value)}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("ethtool command %#x on %s: %w", command, name, errno)
	}
	return nil
}

// joinedProgram runs where segments come out of the pair. Their VLAN tag is the
// number of the slot of the link that they are for: so those of different links
// are never joined.
func (t *Table) joinedProgram() asm.Instructions {
	a := &assembler{}
	a.add(asm.Mov.Reg(rSkb, asm.R1))
	a.load32(asm.R2, rSkb, skbVLANPresent)
	a.add(asm.JEq.Imm(asm.R2, 0, "stray"))
	a.load32(asm.R2, rSkb, skbVLANTCI)
	a.add(asm.And.Imm(asm.R2, maxSlots-1), asm.LSh.Imm(asm.R2, slotShift),
		asm.LoadMapValue(asm.R1, t.slots.FD(), 0), asm.Add.Reg(asm.R1, asm.R2))
	a.load64(asm.R7, asm.R1, wordDevice*8)
	a.add(asm.JEq.Imm(asm.R7, 0, "stray")) // the link is gone
	a.add(asm.Mov.Reg(asm.R1, rSkb), asm.FnSkbVlanPop.Call())
	a.add(asm.Mov.Reg(asm.R1, asm.R7), asm.Mov.Imm(asm.R2, intoDevice), asm.FnRedirect.Call(), asm.Return())
	a.drops("stray") // a neighbour's question, say
	return a.list
}

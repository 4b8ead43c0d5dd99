//go:build linux

package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// FDBEntry is one line of `bridge fdb show`: one remote of one address, of a
// kernel's vxlan device (Flags has NTF_SELF) or of a bridge (NTF_MASTER, or
// Master when it was read).
type FDBEntry struct {
	MAC     net.HardwareAddr
	Dev     string
	Dst     netip.Addr
	VLAN    uint16
	Port    uint16 // 0 = the device's
	VNI     uint32 // with HasVNI
	HasVNI  bool
	SrcVNI  uint32 // with HasSrcVNI
	HasSrc  bool
	Via     string
	Master  string
	NetNSID int32 // where Via is, with HasNSID
	HasNSID bool
	State   uint16 // NUD_*
	Flags   uint8  // NTF_*
	Deleted bool   // of an event: the entry is gone

	Used, Updated uint32 // 1/100 seconds ago, in a dump
}

// The states that the words of `bridge fdb` stand for.
const (
	FDBPermanent = unix.NUD_NOARP | unix.NUD_PERMANENT
	FDBStatic    = unix.NUD_NOARP | unix.NUD_REACHABLE
	FDBDynamic   = unix.NUD_REACHABLE
)

// Line is the entry as `bridge fdb show dev X` prints it, without the dev.
func (e *FDBEntry) Line() string { return e.line(false) }

// MonitorLine is the entry as `bridge monitor fdb` prints it.
func (e *FDBEntry) MonitorLine() string {
	if e.Deleted {
		return "Deleted " + e.line(true)
	}
	return e.line(true)
}

func (e *FDBEntry) line(dev bool) string {
	var b strings.Builder
	word := func(given bool, name string, value any) {
		if given {
			fmt.Fprintf(&b, "%s %v ", name, value)
		}
	}
	b.WriteString(e.MAC.String() + " ")
	word(dev, "dev", e.Dev)
	word(e.Dst.IsValid(), "dst", e.Dst)
	word(e.VLAN != 0, "vlan", e.VLAN)
	word(e.Port != 0, "port", e.Port)
	word(e.HasVNI, "vni", e.VNI)
	word(e.HasSrc, "src_vni", e.SrcVNI)
	word(e.Via != "", "via", e.Via)
	word(e.HasNSID, "link-netnsid", e.NetNSID)
	for _, f := range fdbFlags {
		if e.Flags&f.bit != 0 {
			b.WriteString(f.name + " ")
		}
	}
	word(e.Master != "", "master", e.Master)
	return b.String() + fdbState(e.State)
}

// fdbFlags are in the order in which they are printed.
var fdbFlags = []struct {
	bit  uint8
	name string
}{
	{unix.NTF_SELF, "self"}, {unix.NTF_ROUTER, "router"}, {unix.NTF_EXT_LEARNED, "extern_learn"},
	{unix.NTF_OFFLOADED, "offload"}, {ntfSticky, "sticky"},
}

func fdbState(s uint16) string {
	switch {
	case s&unix.NUD_PERMANENT != 0:
		return "permanent"
	case s&unix.NUD_NOARP != 0:
		return "static"
	case s&unix.NUD_STALE != 0:
		return "stale"
	case s&unix.NUD_REACHABLE != 0:
		return ""
	}
	return fmt.Sprintf("state=%#x", s)
}

// FDBOp is a verb of `bridge fdb`.
type FDBOp string

// The four that change one entry.
const (
	FDBAdd     FDBOp = "add"
	FDBAppend  FDBOp = "append"
	FDBReplace FDBOp = "replace"
	FDBDel     FDBOp = "del"
)

// fdbRequests has for each verb the message and its flags.
var fdbRequests = map[FDBOp][2]int{
	FDBAdd:     {unix.RTM_NEWNEIGH, unix.NLM_F_CREATE | unix.NLM_F_EXCL},
	FDBAppend:  {unix.RTM_NEWNEIGH, unix.NLM_F_CREATE | unix.NLM_F_APPEND},
	FDBReplace: {unix.RTM_NEWNEIGH, unix.NLM_F_CREATE | unix.NLM_F_REPLACE},
	FDBDel:     {unix.RTM_DELNEIGH, 0},
}

// ChangeFDB does what `bridge fdb OP MAC dev Dev …` does. A State of 0 is
// permanent, Flags of 0 are self, as bridge has it. The error is the kernel's
// errno, wrapped.
func (h *Host) ChangeFDB(op FDBOp, e FDBEntry) error {
	if e.State == 0 {
		e.State = FDBPermanent
	}
	request := fdbRequests[op]
	req := nl.NewNetlinkRequest(request[0], request[1]|unix.NLM_F_ACK)
	if err := h.addFDBEntry(req, e); err != nil {
		return err
	}
	return h.execute(req, fmt.Sprintf("fdb %s %v", op, e.MAC))
}

// FlushFDB does what `bridge fdb flush dev Dev …` does. Of e what is given has
// to match: Dst, Port, VNI, SrcVNI, Via, and State and Flags under their masks.
func (h *Host) FlushFDB(e FDBEntry, stateMask uint16, flagsMask uint8) error {
	req := nl.NewNetlinkRequest(unix.RTM_DELNEIGH, nlmFBulk|unix.NLM_F_ACK)
	if err := h.addFDBEntry(req, e); err != nil {
		return err
	}
	if stateMask != 0 {
		req.AddData(nl.NewRtAttr(ndaStateMask, nl.Uint16Attr(stateMask)))
	}
	if flagsMask != 0 {
		req.AddData(nl.NewRtAttr(ndaFlagsMask, nl.Uint8Attr(flagsMask)))
	}
	return h.execute(req, "fdb flush")
}

// What golang.org/x/sys/unix does not have.
const (
	nlmFBulk     = 0x200
	ntfSticky    = 0x40
	ndaStateMask = 16
	ndaFlagsMask = 17
)

func (h *Host) execute(req *nl.NetlinkRequest, what string) error {
	return h.Do(func() error {
		if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// addFDBEntry describes an entry as RTM_NEWNEIGH and RTM_DELNEIGH want it.
func (h *Host) addFDBEntry(req *nl.NetlinkRequest, e FDBEntry) error {
	dev, err := h.link(e.Dev)
	if err != nil {
		return err
	}
	if e.Flags&(unix.NTF_SELF|unix.NTF_MASTER) == 0 {
		e.Flags |= unix.NTF_SELF
	}
	req.AddData(&ndMsg{index: uint32(dev.Attrs().Index), state: e.State, flags: e.Flags})
	if e.MAC != nil {
		req.AddData(nl.NewRtAttr(unix.NDA_LLADDR, e.MAC))
	}
	if e.Dst.IsValid() {
		req.AddData(nl.NewRtAttr(unix.NDA_DST, e.Dst.AsSlice()))
	}
	if e.VLAN != 0 {
		req.AddData(nl.NewRtAttr(unix.NDA_VLAN, nl.Uint16Attr(e.VLAN)))
	}
	if e.Port != 0 {
		req.AddData(nl.NewRtAttr(unix.NDA_PORT, binary.BigEndian.AppendUint16(nil, e.Port)))
	}
	if e.HasVNI {
		req.AddData(nl.NewRtAttr(unix.NDA_VNI, nl.Uint32Attr(e.VNI)))
	}
	if e.HasSrc {
		req.AddData(nl.NewRtAttr(unix.NDA_SRC_VNI, nl.Uint32Attr(e.SrcVNI)))
	}
	if e.Via != "" {
		via, err := h.link(e.Via)
		if err != nil {
			return err
		}
		req.AddData(nl.NewRtAttr(unix.NDA_IFINDEX, nl.Uint32Attr(uint32(via.Attrs().Index))))
	}
	return nil
}

// ndMsg is a struct ndmsg of the family AF_BRIDGE.
type ndMsg struct {
	index uint32
	state uint16
	flags uint8
}

func (m *ndMsg) Len() int { return unix.SizeofNdMsg }

func (m *ndMsg) Serialize() []byte {
	b := binary.NativeEndian.AppendUint32([]byte{unix.AF_BRIDGE, 0, 0, 0}, m.index)
	return append(binary.NativeEndian.AppendUint16(b, m.state), m.flags, 0)
}

// FDB reads the entries of a device, its own and those that its bridge has for
// the port, in the order of `bridge fdb show dev`.
func (h *Host) FDB(dev string) ([]FDBEntry, error) {
	link, err := h.link(dev)
	if err != nil {
		return nil, err
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
	req.AddData(&ndMsg{})
	var messages [][]byte
	err = h.Do(func() (err error) {
		messages, err = req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dumping the FDB of %s: %w", dev, err)
	}
	var all []FDBEntry
	for _, m := range messages {
		if e, index, ok := h.parseFDBEntry(m); ok && index == link.Attrs().Index {
			all = append(all, e)
		}
	}
	return all, nil
}

// parseFDBEntry reads the body of a message, and tells its device's index.
func (h *Host) parseFDBEntry(m []byte) (e FDBEntry, index int, ok bool) {
	if len(m) < unix.SizeofNdMsg || m[0] != unix.AF_BRIDGE {
		return e, 0, false
	}
	index = int(binary.NativeEndian.Uint32(m[4:]))
	e.State, e.Flags = binary.NativeEndian.Uint16(m[8:]), m[10]
	e.Dev = h.deviceName(index)
	attrs, err := nl.ParseRouteAttr(m[unix.SizeofNdMsg:])
	if err != nil {
		return e, 0, false
	}
	for _, a := range attrs {
		switch v := a.Value; a.Attr.Type {
		case unix.NDA_LLADDR:
			e.MAC = net.HardwareAddr(bytes.Clone(v))
		case unix.NDA_DST:
			e.Dst, _ = netip.AddrFromSlice(v)
		case unix.NDA_VLAN:
			e.VLAN = binary.NativeEndian.Uint16(v)
		case unix.NDA_PORT:
			e.Port = binary.BigEndian.Uint16(v)
		case unix.NDA_VNI:
			e.VNI, e.HasVNI = binary.NativeEndian.Uint32(v), true
		case unix.NDA_SRC_VNI:
			e.SrcVNI, e.HasSrc = binary.NativeEndian.Uint32(v), true
		case unix.NDA_IFINDEX:
			e.Via = h.deviceName(int(binary.NativeEndian.Uint32(v)))
		case unix.NDA_LINK_NETNSID:
			e.NetNSID, e.HasNSID = int32(binary.NativeEndian.Uint32(v)), true
		case unix.NDA_MASTER:
			e.Master = h.deviceName(int(binary.NativeEndian.Uint32(v)))
		case unix.NDA_CACHEINFO: // confirmed, used, updated, references
			e.Used, e.Updated = binary.NativeEndian.Uint32(v[4:]), binary.NativeEndian.Uint32(v[8:])
		}
	}
	return e, index, true
}

// deviceName is if and its number for a device that is gone, as bridge has it.
func (h *Host) deviceName(index int) string {
	link, err := h.nl.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("if%d", index)
	}
	return link.Attrs().Name
}

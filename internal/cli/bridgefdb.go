package cli

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// clockTicks is the kernel's USER_HZ, in which it tells times.
const clockTicks = 100

// Flags of linux/neighbour.h that came with Linux 4.20 and 5.18.
const (
	flagSticky = 1 << 6 // NTF_STICKY
	extLocked  = 1 << 1 // NTF_EXT_LOCKED, in an attribute of its own
)

// bridgeEntries returns what the bridge that a device is a port of knows
// behind this port. The device's own entries in the kernel, the multicast
// addresses that a TAP listens to, are not those of a vxlan device.
func bridgeEntries(port *netlink.LinkAttrs) ([]fdbLine, error) {
	if port.MasterIndex == 0 {
		return nil, nil
	}
	answers, err := askForPort(port.Index)
	if err != nil {
		return nil, fmt.Errorf("entries of the bridge for %s: %w", port.Name, err)
	}
	master := deviceName(port.MasterIndex)
	var lines []fdbLine
	for _, m := range answers {
		n, err := netlink.NeighDeserialize(m)
		if err != nil {
			return nil, err
		}
		if n.LinkIndex == port.Index && n.MasterIndex != 0 {
			lines = append(lines, bridgeLine(n, port.Name, master))
		}
	}
	return lines, nil
}

// askForPort asks with the older of two headers: with ndmsg the kernel would
// dump the tables of all devices.
func askForPort(index int) ([][]byte, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(index)
	req.AddData(msg)
	return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
}

func bridgeLine(n *netlink.Neigh, device, master string) fdbLine {
	used, updated := n.Used/clockTicks, n.Updated/clockTicks
	line := fdbLine{
		MAC: n.HardwareAddr.String(), IfName: device, VLAN: n.Vlan, Used: &used, Updated: &updated,
		Flags: []string{}, Master: master, State: bridgeState(n.State),
	}
	for _, f := range []struct {
		set  bool
		name string
	}{
		{n.Flags&unix.NTF_SELF != 0, "self"},
		{n.Flags&unix.NTF_ROUTER != 0, "router"},
		{n.Flags&unix.NTF_EXT_LEARNED != 0, "extern_learn"},
		{n.Flags&unix.NTF_OFFLOADED != 0, "offload"},
		{n.Flags&unix.NTF_MASTER != 0, "master"},
		{n.Flags&flagSticky != 0, "sticky"},
		{n.FlagsExt&extLocked != 0, "locked"},
	} {
		if f.set {
			line.Flags = append(line.Flags, f.name)
		}
	}
	return line
}

func bridgeState(state int) string {
	switch {
	case state&unix.NUD_PERMANENT != 0:
		return "permanent"
	case state&unix.NUD_NOARP != 0:
		return "static"
	case state&unix.NUD_STALE != 0:
		return "stale"
	}
	return ""
}

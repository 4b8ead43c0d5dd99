package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

const setUsage = `set NAME [up|down] [mtu N] [address MAC] [name NEW] [master DEV|nomaster]
    [type vxlan|udp] [remote IP | group IP] [local IP] [dev IF] [ttl auto|N]
    [tos inherit|N] [df unset|set|inherit] [flowlabel N] [[no]learning]
    [ageing SECONDS] [allow-sources PREFIX...|none]`

const setHelp = `Change a link while it runs. The words mean what they mean for "link add";
what is not named stays as it is. remote and local are taken away with 0.0.0.0
or ::, the list of allowed sources with none.

As with the kernel's device, id, dstport, srcport, maxaddress, proxy, l2miss,
l3miss, the checksum words and "ttl inherit" are fixed. Of a link with l3 so are
remote, ageing and learning, and of one of type udp all words but allow-sources.

The words of the first line are those of "ip link set", for any device of this
network namespace.`

func linkSetCommand() *cobra.Command {
	return &cobra.Command{
		Use:               setUsage,
		Short:             "Change a VXLAN link",
		Long:              setHelp,
		Example:           "  weft link set vxlan0 remote 10.99.0.3\n  weft link set vxlan0 master br0 up",
		ValidArgsFunction: completeSet,
		RunE: func(cmd *cobra.Command, words []string) error {
			if len(words) > 0 && words[len(words)-1] == "help" {
				return cmd.Help()
			}
			s, err := readLinkSet(words)
			if err != nil {
				return err
			}
			return s.carryOut()
		},
	}
}

// carryOut has the daemon change the link, and then changes the device. What
// is refused leaves both as they were, except that the kernel may refuse one
// change of the device after another was made.
func (s *linkSet) carryOut() error {
	if !s.asksLink {
		device, err := netlink.LinkByName(s.name)
		if err != nil {
			return noDevice(s.name, err)
		}
		return s.device.apply(device)
	}
	l, err := theLink(control.OpList, s.name)
	if err != nil {
		return err
	}
	if err := s.check(&l.info.LinkConfig); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	if err := outcome(l.call(ctx, control.Request{Op: control.OpSet, Set: &s.change})); err != nil {
		return err
	}
	return s.device.apply(&netlink.Device{LinkAttrs: *l.device})
}

// check refuses what the kernel does not let anyone change, and what the link
// as it is does not go with.
func (s *linkSet) check(c *dataplane.LinkConfig) error {
	if s.kind != "" && (s.kind == "udp") != c.Bare() {
		return fmt.Errorf("link %s is not of type %s: its type stays what it was made with", s.name, s.kind)
	}
	for _, f := range s.fixed {
		if !f.same(c) {
			return fmt.Errorf("%s `%s` of %s stays what it was made with: delete the link and add it again", f.sentence, f.word, s.name)
		}
	}
	dev := c.Dev
	if s.change.Dev != nil {
		dev = *s.change.Dev
	}
	if r := s.change.Remote; r != nil && r.IsMulticast() && dev == "" {
		return fmt.Errorf("`group %s` needs `dev IF`, the device on which the group is joined, and %s has none; add it", r, s.name)
	}
	return nil
}

// deviceChange is about the device and not about the tunnel. Zero values leave
// it as it is.
type deviceChange struct {
	address string
	mtu     int
	name    string
	master  *string // "" takes it away
	up      *bool
}

// apply makes the changes in the order in which the kernel does for one
// request of ip.
func (d *deviceChange) apply(to netlink.Link) error {
	for _, step := range []struct {
		asked bool
		what  string
		do    func(*deviceChange, netlink.Link) error
	}{
		{d.address != "", "address " + d.address, (*deviceChange).setAddress},
		{d.mtu != 0, fmt.Sprintf("mtu %d", d.mtu), func(d *deviceChange, to netlink.Link) error { return netlink.LinkSetMTU(to, d.mtu) }},
		{d.name != "", "name " + d.name, func(d *deviceChange, to netlink.Link) error { return netlink.LinkSetName(to, d.name) }},
		{d.master != nil, "master", (*deviceChange).setMaster},
		{d.up != nil, "up or down", (*deviceChange).setUp},
	} {
		if !step.asked {
			continue
		}
		if err := step.do(d, to); err != nil {
			return fmt.Errorf("device %s: set %s: %w", to.Attrs().Name, step.what, err)
		}
	}
	return nil
}

func (d *deviceChange) setAddress(to netlink.Link) error {
	mac, _ := parseMAC(d.address) // was read before
	return netlink.LinkSetHardwareAddr(to, mac)
}

func (d *deviceChange) setMaster(to netlink.Link) error {
	if *d.master == "" {
		return netlink.LinkSetNoMaster(to)
	}
	master, err := netlink.LinkByName(*d.master)
	if err != nil {
		return noDevice(*d.master, err)
	}
	return netlink.LinkSetMaster(to, master)
}

func (d *deviceChange) setUp(to netlink.Link) error {
	if *d.up {
		return netlink.LinkSetUp(to)
	}
	return netlink.LinkSetDown(to)
}

// noDevice tells that a device was not found; err is netlink's.
func noDevice(name string, err error) error {
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return fmt.Errorf("no device %q in this network namespace", name)
	}
	return fmt.Errorf("device %q: %w", name, err)
}

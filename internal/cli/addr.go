package cli

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"
)

const addressUsage = ` PREFIX dev NAME [peer PREFIX] [brd IP|+|-] [scope SCOPE] [label NAME]
    [nodad] [noprefixroute]`

const addressHelp = `

The words are those of "ip addr", for any device of this network namespace, so
that a file for "ip -batch" serves where there is no ip.`

// addressOps are what can be done with an address, and how.
var addressOps = []struct {
	name, short string
	aliases     []string
	do          func(netlink.Link, *netlink.Addr) error
}{
	{"add", "Give a device an address", nil, netlink.AddrAdd},
	{"replace", "Give a device an address, or change the one that it has", []string{"change"}, netlink.AddrReplace},
	{"del", "Take an address from a device", []string{"delete"}, netlink.AddrDel},
}

func (a *app) addrCommand() *cobra.Command {
	addr := &cobra.Command{Use: "addr", Aliases: []string{"address"}, Short: "Show and change the addresses of devices, where there is no ip"}
	addr.AddCommand(a.addrShowCommand())
	for _, op := range addressOps {
		addr.AddCommand(&cobra.Command{
			Use:               op.name + addressUsage,
			Aliases:           op.aliases,
			Short:             op.short,
			Long:              op.short + "." + addressHelp,
			Example:           fmt.Sprintf("  weft addr %s 10.5.0.1/24 dev vxlan0", op.name),
			ValidArgsFunction: completeWords(addressWords.names),
			RunE: func(_ *cobra.Command, words []string) error {
				w, err := readAddress(op.name, words)
				if err != nil {
					return err
				}
				return w.apply(op.name, op.do)
			},
		})
	}
	choose(addr, func() error { return a.showAddresses("") })
	return addr
}

func (a *app) addrShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show [dev NAME]",
		Aliases:           []string{"list", "ls", "lst"},
		Short:             "Show the devices of this network namespace with their addresses",
		ValidArgsFunction: completeName,
		RunE: func(_ *cobra.Command, words []string) error {
			name, err := readName(words)
			if err != nil {
				return err
			}
			return a.showAddresses(name)
		},
	}
}

func (a *newAddress) apply(name string, do func(netlink.Link, *netlink.Addr) error) error {
	device, err := netlink.LinkByName(a.dev)
	if err != nil {
		return noDevice(a.dev, err)
	}
	err = do(device, a.address())
	switch {
	case errors.Is(err, syscall.EEXIST):
		return fmt.Errorf("device %s has the address %s already: `addr replace` changes it", a.dev, a.prefix)
	case errors.Is(err, syscall.EADDRNOTAVAIL) && name == "del":
		return fmt.Errorf("device %s has no address %s: the length of the prefix counts, and `addr show dev %[1]s` tells it", a.dev, a.prefix)
	case err != nil:
		return fmt.Errorf("device %s: %s address %s: %w", a.dev, name, a.prefix, err)
	}
	return nil
}

// addressedDevices returns the device called name, or all when name is empty.
func addressedDevices(name string) ([]netlink.Link, error) {
	if name == "" {
		return netlink.LinkList()
	}
	device, err := netlink.LinkByName(name)
	if err != nil {
		return nil, noDevice(name, err)
	}
	return []netlink.Link{device}, nil
}

func (a *app) showAddresses(name string) error {
	devices, err := addressedDevices(name)
	if err != nil {
		return err
	}
	var text strings.Builder
	all := []addressedJSON{}
	for _, device := range devices {
		addresses, err := netlink.AddrList(device, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("addresses of %s: %w", device.Attrs().Name, err)
		}
		d := addressedAsJSON(device.Attrs(), addresses)
		all = append(all, d)
		d.writeText(&text)
	}
	if a.json {
		return a.printJSON(all)
	}
	_, err = a.out.Write([]byte(text.String()))
	return err
}

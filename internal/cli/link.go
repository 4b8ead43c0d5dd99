package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/daemon"
)

// How long commands wait for a daemon: a change may have to wait for others
// and for the kernel, a query has nothing to wait for.
const (
	changeTimeout = 30 * time.Second
	queryTimeout  = 2 * time.Second
)

const addUsage = `add [name] NAME [mtu N] [address MAC] type vxlan id VNI
    [remote IP | group IP] [local IP] [dev IF] [dstport PORT] [srcport MIN MAX]
    [ttl auto|inherit|N] [tos inherit|N] [df unset|set|inherit] [flowlabel N]
    [[no]learning] [ageing SECONDS] [maxaddress N] [[no]proxy] [[no]l2miss]
    [[no]l3miss] [[no]udpcsum] [[no]udp6zerocsumtx] [[no]udp6zerocsumrx]
    [profile kernel|rfc7348] [allow-sources PREFIX...] [l3] [offload on|off]
  weft link add [name] NAME [mtu N] type udp [local IP] [dev IF] [port PORT]
    [allow-sources PREFIX...] [offload on|off]`

const addHelp = `Create a link in the network namespace of the caller. The words are those of
"ip link add ... type vxlan", in any order, and mean the same.

  NAME        1 to 15 bytes: the new device
  mtu         68-65535; without it that of dev less 50 bytes, 70 over IPv6
  id          0-16777215, the VNI (also: vni)
  remote      where frames without an entry in the FDB go, one host
  group       the same, all members of a multicast group; needs dev, on which
              the group is joined while the new device is up
  local       source of outer packets; without it what the route says
  dev         device of the underlay
  dstport     UDP port, listened on and sent to; IANA's is 4789, the kernel's
              default, used where none is given, 8472
  srcport     MIN up to but not including MAX (also: port); without it, or
              with MIN = MAX, net.ipv4.ip_local_port_range
  ttl         auto (the route's), inherit (the inner packet's) or 1-255
  tos         hexadecimal, or inherit (the inner packet's)
  flowlabel   0-0xfffff, over IPv6
  learning    put into the FDB which VTEP a source address is behind (default)
  ageing      lifetime in seconds of such an entry without receipt; 0 is 300
  maxaddress  entries of the FDB at most; 0 or unlimited: any number
  proxy       answer ARP and neighbour solicitations from the neighbour table
              of the device and let none of them out
  l2miss      tell "weft monitor" of destinations without an entry
  l3miss      with proxy: tell it of addresses without a neighbour
  profile     rfc7348: what that RFC wants otherwise than the kernel does it,
              unless another word says so: dstport 4789, srcport 49152 65535,
              checksums of zero, df set, reserved bits ignored, frames with a
              VLAN tag dropped (also: --profile)
  allow-sources
              VTEPs whose datagrams are taken, by prefix; others' are dropped
              and counted
  l3          the device carries IP packets and no frames; "weft route" says
              which VTEP each goes to, and the MAC address of the link there;
              address, or a random one, is the link's own for its frames
  offload     off: one packet at a time, no segmentation offload

With type udp the device carries IP packets too, and UDP carries them without
any other header, as flannel's udp backend does; "weft route" says where to.

  local       address that is listened and sent on; :: is any of IPv6
  dev         device of the underlay whose MTU, less 28 bytes, 48 over IPv6, the
              new device gets; without it, of one of 1500 bytes
  port        UDP port listened on, sent to and sent from, 8285 if not given;
              a link of type udp has it to itself

The first link of a namespace starts "weft daemon" there in the background,
which ends after the last one. Addresses, up and down, bridges, deletion and
moving to another namespace are plain ip; where there is no ip, see "weft link
set" and "weft addr".`

func (a *app) linkCommand() *cobra.Command {
	link := &cobra.Command{Use: "link", Short: "Create, show, change and delete VXLAN links"}
	link.AddCommand(a.linkAddCommand(), linkSetCommand(), linkDelCommand(), a.linkShowCommand())
	choose(link, func() error { return a.showLinks("") })
	return link
}

func (a *app) linkAddCommand() *cobra.Command {
	var profile string
	cmd := &cobra.Command{
		Use:               addUsage,
		Short:             "Create a VXLAN link",
		Long:              addHelp,
		Example:           "  weft link add vx0 type vxlan id 5 remote 10.99.0.2 local 10.99.0.1 dev eth0 dstport 4789",
		ValidArgsFunction: completeNewLink,
		RunE: func(cmd *cobra.Command, words []string) error {
			if len(words) > 0 && words[len(words)-1] == "help" {
				return cmd.Help()
			}
			return a.addLink(cmd.Context(), words, profile)
		},
	}
	cmd.Flags().StringVar(&profile, "profile", "", "kernel or rfc7348, as the word")
	return cmd
}

func (a *app) addLink(ctx context.Context, words []string, profile string) error {
	l, err := readNewLink(words, profile)
	if err != nil {
		return err
	}
	dir, err := control.RunDirFromEnv()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	resp, err := daemon.Add(ctx, dir, l.cfg)
	if err = outcome(resp, err); err != nil {
		return err
	}
	if text := l.warning(); text != "" {
		a.complain("%s", text)
	}
	return nil
}

func linkDelCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "del NAME",
		Aliases:           []string{"delete"},
		Short:             "Delete a VXLAN link and free its port",
		ValidArgsFunction: completeName,
		RunE: func(_ *cobra.Command, words []string) error {
			name, err := readName(words)
			if err == nil && name == "" {
				err = usagef("no name given: `link del` needs the name of a link")
			}
			if err != nil {
				return err
			}
			return delLink(name)
		},
	}
}

func delLink(name string) error {
	one, err := theLink(control.OpList, name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	return outcome(one.call(ctx, control.Request{Op: control.OpDel}))
}

// outcome turns what the daemon refused into an error.
func outcome(resp control.Response, err error) error {
	switch {
	case err != nil:
		return err
	case resp.OK:
		return nil
	case resp.Usage:
		return &usageError{resp.Error}
	}
	return errors.New(resp.Error)
}

// readName reads the words of a command about one existing link, or about all
// when there is none.
func readName(words []string) (string, error) {
	var l newLink
	g := grammar[newLink]{
		words: map[string]word[newLink]{
			"name": {"name", takeName},
			"dev":  {"name", takeName},
		},
		bare: bareName,
	}
	if err := g.read(&cursor{words: words}, &l); err != nil {
		return "", err
	}
	return l.cfg.Name, nil
}

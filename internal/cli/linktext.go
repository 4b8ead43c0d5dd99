package cli

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/dataplane"
)

const broadcast = "ff:ff:ff:ff:ff:ff"

// printLinks prints links as `ip -d link show` does.
func (a *app) printLinks(links []foundLink) error {
	var out bytes.Buffer
	for _, l := range links {
		a.writeDevice(&out, l.device)
		fmt.Fprintf(&out, "    %s\n", strings.Join(kindLine(&l.info), " "))
		fmt.Fprintf(&out, "    offload %s\n", strings.Join(featureLine(l.info.Features), " "))
		writeOwn(&out, &l.info)
		if a.statistics && l.stats != nil {
			writeFigures(&out, figuresOf(l.stats))
		}
	}
	_, err := a.out.Write(out.Bytes())
	return err
}

func (a *app) writeDevice(out io.Writer, d *netlink.LinkAttrs) {
	fmt.Fprintf(out, "%d: %s: <%s> mtu %d ", d.Index, d.Name, strings.Join(flagNames(d.RawFlags), ","), d.MTU)
	if d.MasterIndex != 0 {
		fmt.Fprintf(out, "master %s ", deviceName(d.MasterIndex))
	}
	fmt.Fprintf(out, "state %s mode DEFAULT group %s qlen %d\n", operState(d), groupName(d.Group), d.TxQLen)
	if len(d.HardwareAddr) > 0 {
		fmt.Fprintf(out, "    link/ether %s brd %s", d.HardwareAddr, broadcast)
	} else {
		fmt.Fprint(out, "    link/none ")
	}
	if a.details {
		fmt.Fprintf(out, " promiscuity %d  allmulti %d numtxqueues %d numrxqueues %d gso_max_size %d gso_max_segs %d",
			d.Promisc, d.Allmulti, d.NumTxQueues, d.NumRxQueues, d.GSOMaxSize, d.GSOMaxSegs)
	}
	fmt.Fprintln(out)
}

// writeOwn prints what the kernel's device does not have, where it is set.
func writeOwn(out io.Writer, c *dataplane.LinkInfo) {
	if c.Profile != "" {
		fmt.Fprintf(out, "    profile %s\n", c.Profile)
	}
	if len(c.AllowSources) > 0 {
		fmt.Fprint(out, "    allow-sources")
		for _, p := range c.AllowSources {
			fmt.Fprintf(out, " %s", p)
		}
		fmt.Fprintln(out)
	}
}

// kindLine lists a link's type and configuration.
func kindLine(c *dataplane.LinkInfo) []string {
	if c.Bare() {
		return append([]string{"udp"}, udpLine(c)...)
	}
	return append([]string{"vxlan"}, vxlanLine(c)...)
}

// udpLine lists the configuration of a link of type udp in the words of link
// add.
func udpLine(c *dataplane.LinkInfo) []string {
	var line []string
	if c.Local.IsValid() {
		line = append(line, "local", c.Local.String())
	}
	if c.Dev != "" {
		line = append(line, "dev", c.Dev)
	}
	return append(line, "port", strconv.Itoa(int(c.Port)))
}

// vxlanLine lists a link's configuration in the words and the order of ip.
func vxlanLine(c *dataplane.LinkInfo) []string {
	line := []string{fmt.Sprintf("id %d", c.VNI)}
	add := func(show bool, format string, args ...any) {
		if show {
			line = append(line, fmt.Sprintf(format, args...))
		}
	}
	add(c.Remote.IsValid(), "%s %s", remoteWord(&c.LinkConfig), c.Remote)
	add(c.Local.IsValid(), "local %s", c.Local)
	add(c.Dev != "", "dev %s", c.Dev)
	add(true, "srcport %d %d dstport %d", c.SrcPortLow, c.SrcPortHigh, c.Port)
	add(c.L3, "l3 address %s", c.Address)
	add(c.NoLearning && !c.L3, "nolearning")
	add(c.Proxy, "proxy")
	add(c.L2Miss, "l2miss")
	add(c.L3Miss, "l3miss")
	add(c.TOSCopy, "tos inherit")
	add(!c.TOSCopy && c.TOS != 0, "tos %#x", c.TOS)
	add(true, "ttl %s", ttlText(c))
	add(c.DF != "" && c.DF != dataplane.DFUnset, "df %s", c.DF)
	add(c.FlowLabel != 0, "flowlabel %#x", c.FlowLabel)
	add(!c.L3, "ageing %d", lifetime(c))
	add(c.MaxAddress != 0, "maxaddr %d", c.MaxAddress)
	add(true, "%sudpcsum", no(c.Checksum.NoUDP))
	add(true, "%sudp6zerocsumtx", no(!c.Checksum.ZeroTx6))
	add(true, "%sudp6zerocsumrx", no(!c.Checksum.AcceptRx6))
	return line
}

// lifetime is what the kernel shows for an ageing of 0.
func lifetime(c *dataplane.LinkInfo) uint32 {
	if c.Ageing == 0 {
		return dataplane.DefaultAgeing
	}
	return c.Ageing
}

func ttlText(c *dataplane.LinkInfo) string {
	switch {
	case c.TTLCopy:
		return "inherit"
	case c.TTL == 0:
		return "auto"
	}
	return fmt.Sprint(c.TTL)
}

func no(off bool) string {
	if off {
		return "no"
	}
	return ""
}

// featureLine says of every offload whether it is in use.
func featureLine(features map[string]string) []string {
	var line []string
	for _, name := range slices.Sorted(maps.Keys(features)) {
		line = append(line, name+" "+features[name])
	}
	return line
}

package cli

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const noAddress = "00:00:00:00:00:00"

// addressedJSON is one device under the keys of `ip -j addr show`.
type addressedJSON struct {
	Index     int           `json:"ifindex"`
	Name      string        `json:"ifname"`
	Flags     []string      `json:"flags"`
	MTU       int           `json:"mtu"`
	Master    string        `json:"master,omitempty"`
	OperState string        `json:"operstate"`
	Group     string        `json:"group"`
	TxQLen    int           `json:"txqlen"`
	LinkType  string        `json:"link_type"`
	Address   string        `json:"address,omitempty"`
	Broadcast string        `json:"broadcast,omitempty"`
	Addresses []addressJSON `json:"addr_info"`
}

type addressJSON struct {
	Family    string `json:"family"`
	Local     string `json:"local"`
	Peer      string `json:"address,omitempty"`
	PrefixLen int    `json:"prefixlen"`
	Broadcast string `json:"broadcast,omitempty"`
	Scope     string `json:"scope"`
	addressFlags
	Label     string `json:"label,omitempty"`
	Valid     uint32 `json:"valid_life_time"`
	Preferred uint32 `json:"preferred_life_time"`
}

// addressFlags are in the order of ip.
type addressFlags struct {
	Secondary     bool `json:"secondary,omitempty"`
	Temporary     bool `json:"temporary,omitempty"`
	NoDAD         bool `json:"nodad,omitempty"`
	Optimistic    bool `json:"optimistic,omitempty"`
	DADFailed     bool `json:"dadfailed,omitempty"`
	Home          bool `json:"home,omitempty"`
	Deprecated    bool `json:"deprecated,omitempty"`
	Tentative     bool `json:"tentative,omitempty"`
	ManageTemp    bool `json:"mngtmpaddr,omitempty"`
	NoPrefixRoute bool `json:"noprefixroute,omitempty"`
	AutoJoin      bool `json:"autojoin,omitempty"`
	Dynamic       bool `json:"dynamic,omitempty"`
}

func addressedAsJSON(d *netlink.LinkAttrs, addresses []netlink.Addr) addressedJSON {
	j := addressedJSON{
		Index: d.Index, Name: d.Name, Flags: flagNames(d.RawFlags), MTU: d.MTU, OperState: operState(d),
		Group: groupName(d.Group), TxQLen: d.TxQLen, LinkType: d.EncapType, Address: d.HardwareAddr.String(),
		Addresses: []addressJSON{},
	}
	switch d.EncapType {
	case "ether":
		j.Broadcast = broadcast
	case "loopback":
		j.Address, j.Broadcast = noAddress, noAddress // the library leaves zeros out
	}
	if d.MasterIndex != 0 {
		j.Master = deviceName(d.MasterIndex)
	}
	for i := range addresses {
		j.Addresses = append(j.Addresses, addressAsJSON(&addresses[i]))
	}
	return j
}

func addressAsJSON(a *netlink.Addr) addressJSON {
	// Life times are signed in the library; -1 is forever.
	j := addressJSON{
		Family: "inet", Local: a.IP.String(), Scope: scopeName(a.Scope), addressFlags: flagsOf(a), Label: a.Label,
		Valid: uint32(a.ValidLft), Preferred: uint32(a.PreferedLft),
	}
	j.PrefixLen, _ = a.Mask.Size()
	if a.IP.To4() == nil {
		j.Family = "inet6"
	}
	if a.Peer != nil && !a.Peer.IP.Equal(a.IP) {
		j.Peer = a.Peer.IP.String()
		j.PrefixLen, _ = a.Peer.Mask.Size()
	}
	if len(a.Broadcast) > 0 {
		j.Broadcast = a.Broadcast.String()
	}
	return j
}

func scopeName(scope int) string {
	for name, n := range scopes {
		if n == uint64(scope) {
			return name
		}
	}
	return fmt.Sprint(scope)
}

func flagsOf(a *netlink.Addr) addressFlags {
	is := func(flag int) bool { return a.Flags&flag != 0 }
	six := a.IP.To4() == nil
	return addressFlags{
		Secondary: is(unix.IFA_F_SECONDARY) && !six, Temporary: is(unix.IFA_F_TEMPORARY) && six, // one bit
		NoDAD: is(unix.IFA_F_NODAD), Optimistic: is(unix.IFA_F_OPTIMISTIC), DADFailed: is(unix.IFA_F_DADFAILED),
		Home: is(unix.IFA_F_HOMEADDRESS), Deprecated: is(unix.IFA_F_DEPRECATED), Tentative: is(unix.IFA_F_TENTATIVE),
		ManageTemp: is(unix.IFA_F_MANAGETEMPADDR), NoPrefixRoute: is(unix.IFA_F_NOPREFIXROUTE),
		AutoJoin: is(unix.IFA_F_MCAUTOJOIN), Dynamic: !is(unix.IFA_F_PERMANENT),
	}
}

func (f *addressFlags) writeText(out io.Writer) {
	for _, flag := range []struct {
		set  bool
		name string
	}{
		{f.Secondary, "secondary"}, {f.Temporary, "temporary"}, {f.NoDAD, "nodad"}, {f.Optimistic, "optimistic"},
		{f.DADFailed, "dadfailed"}, {f.Home, "home"}, {f.Deprecated, "deprecated"}, {f.Tentative, "tentative"},
		{f.ManageTemp, "mngtmpaddr"}, {f.NoPrefixRoute, "noprefixroute"}, {f.AutoJoin, "autojoin"}, {f.Dynamic, "dynamic"},
	} {
		if flag.set {
			fmt.Fprintf(out, "%s ", flag.name)
		}
	}
}

// writeText prints a device as `ip addr show` does.
func (j *addressedJSON) writeText(out io.Writer) {
	fmt.Fprintf(out, "%d: %s: <%s> mtu %d ", j.Index, j.Name, strings.Join(j.Flags, ","), j.MTU)
	if j.Master != "" {
		fmt.Fprintf(out, "master %s ", j.Master)
	}
	fmt.Fprintf(out, "state %s group %s qlen %d\n    link/%s %s", j.OperState, j.Group, j.TxQLen, j.LinkType, j.Address)
	if j.Broadcast != "" {
		fmt.Fprintf(out, " brd %s", j.Broadcast)
	}
	fmt.Fprintln(out)
	for i := range j.Addresses {
		j.Addresses[i].writeText(out)
	}
}

func (j *addressJSON) writeText(out io.Writer) {
	fmt.Fprintf(out, "    %s %s", j.Family, j.Local)
	if j.Peer != "" {
		fmt.Fprintf(out, " peer %s", j.Peer)
	}
	fmt.Fprintf(out, "/%d ", j.PrefixLen)
	if j.Broadcast != "" {
		fmt.Fprintf(out, "brd %s ", j.Broadcast)
	}
	fmt.Fprintf(out, "scope %s ", j.Scope)
	j.addressFlags.writeText(out)
	fmt.Fprintf(out, "%s\n       valid_lft %s preferred_lft %s\n", j.Label, seconds(j.Valid), seconds(j.Preferred))
}

func seconds(n uint32) string {
	if n == math.MaxUint32 {
		return "forever"
	}
	return fmt.Sprintf("%dsec", n)
}

package cli

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weftnet/weft/dataplane"
)

// fdbLine is one line of `bridge fdb`, under the keys and in the order of
// `bridge -j fdb`.
type fdbLine struct {
	Deleted bool     `json:"deleted,omitempty"`
	MAC     string   `json:"mac"`
	IfName  string   `json:"ifname,omitempty"`
	Dst     string   `json:"dst,omitempty"`
	VLAN    int      `json:"vlan,omitempty"`
	Port    uint16   `json:"port,omitempty"`
	VNI     *uint32  `json:"vni,omitempty"`
	Via     string   `json:"viaIf,omitempty"`
	ViaIdx  int      `json:"viaIfIndex,omitempty"`
	NetNSID *int     `json:"linkNetNsId,omitempty"`
	Used    *uint32  `json:"used,omitempty"`
	Updated *uint32  `json:"updated,omitempty"`
	Flags   []string `json:"flags"`
	Master  string   `json:"master,omitempty"`
	State   string   `json:"state"`
}

// underlayElsewhere is the number by which the kernel names the namespace that
// a moved device's packets go out of, if it is the only one that it knows.
var underlayElsewhere int

// fdbLine describes an entry of the link.
func (l *foundLink) fdbLine(e *dataplane.FDBEntry) fdbLine {
	line := fdbLine{
		MAC: e.MAC.String(), IfName: l.device.Name, Dst: e.Dst.String(), Via: e.Via,
		Used: &e.Used, Updated: &e.Updated, Flags: fdbFlags(e), State: e.State,
	}
	if e.Port != l.info.Port {
		line.Port = e.Port
	}
	if e.VNI != l.info.VNI {
		line.VNI = &e.VNI
	}
	if l.moved() { // and the name of the underlay's device is one of elsewhere
		line.NetNSID = &underlayElsewhere
		line.Via, line.ViaIdx = "", e.ViaIndex
	}
	return line
}

// moved reports whether the device is in another namespace than its daemon,
// whose socket is named after its own.
func (l *foundLink) moved() bool {
	daemon, _, _ := strings.Cut(filepath.Base(l.socket), ".")
	return daemon != strconv.FormatUint(l.info.NetNS, 10)
}

// The sets of flags that an entry can have.
var (
	selfOnly       = []string{"self"}
	selfRouter     = []string{"self", "router"}
	selfLearnt     = []string{"self", "extern_learn"}
	selfRouterBoth = []string{"self", "router", "extern_learn"}
)

func fdbFlags(e *dataplane.FDBEntry) []string {
	switch {
	case e.Router && e.ExternLearn:
		return selfRouterBoth
	case e.Router:
		return selfRouter
	case e.ExternLearn:
		return selfLearnt
	}
	return selfOnly
}

// appendText appends the line as `bridge fdb` prints it. Each word but the
// last, the state, is followed by a blank, also where the state is empty.
func (l *fdbLine) appendText(b []byte) []byte {
	word := func(name, value string) {
		if value != "" {
			b = append(append(append(append(b, name...), ' '), value...), ' ')
		}
	}
	if l.Deleted {
		b = append(b, "Deleted "...)
	}
	b = append(append(b, l.MAC...), ' ')
	word("dev", l.IfName)
	word("dst", l.Dst)
	word("vlan", unlessZero(l.VLAN))
	word("port", unlessZero(int(l.Port)))
	if l.VNI != nil {
		word("vni", strconv.FormatUint(uint64(*l.VNI), 10))
	}
	word("via", l.Via)
	word("via ifindex", unlessZero(l.ViaIdx))
	if l.NetNSID != nil {
		word("link-netnsid", strconv.Itoa(*l.NetNSID))
	}
	if l.Used != nil {
		word("used", strconv.FormatUint(uint64(*l.Used), 10)+"/"+strconv.FormatUint(uint64(*l.Updated), 10))
	}
	for _, flag := range l.Flags {
		b = append(append(b, flag...), ' ')
	}
	word("master", l.Master)
	return append(append(b, l.State...), '\n')
}

func unlessZero(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

package cli

import (
	"net/netip"

	"github.com/weftnet/weft/dataplane"
)

// defaultPort is the Linux kernel's, chosen before the IANA assigned 4789.
const defaultPort = 8472

// check refuses what no machine could do, in the kernel's order, and completes
// the configuration.
func (l *newLink) check() error {
	if l.cfg.Bare() {
		return l.checkUDP()
	}
	if !l.hasVNI {
		return usagef("no VNI given: `type vxlan` needs `id VNI`, 0-16777215")
	}
	if err := l.checkFamilies(); err != nil {
		return err
	}
	l.cfg.Remote, l.cfg.Local = specified(l.cfg.Remote), specified(l.cfg.Local)
	if err := l.checkScopes(); err != nil {
		return err
	}
	if group, ok := l.cfg.Group(); ok && l.cfg.Dev == "" {
		return usagef("`group %s` needs `dev IF`, the device on which the group is joined; add it", group)
	}
	if l.cfg.FlowLabel != 0 && !l.cfg.IPv6() {
		return usagef("`flowlabel` is refused: it is allowed with an IPv6 `remote` or `local` only; leave it out over IPv4")
	}
	if l.cfg.Port == 0 {
		l.cfg.Port = defaultPort
	}
	if err := l.checkL3(); err != nil {
		return err
	}
	return checkSources(&l.cfg)
}

func (l *newLink) checkFamilies() error {
	remote, local := l.cfg.Remote, l.cfg.Local
	if remote.IsValid() && local.IsValid() && remote.Is4() != local.Is4() {
		return usagef("`local %s` does not go with `%s %s`: both must be IPv4 or both IPv6", local, remoteWord(&l.cfg), remote)
	}
	return nil
}

// remoteWord is the word that the remote is given with.
func remoteWord(c *dataplane.LinkConfig) string {
	if _, ok := c.Group(); ok {
		return "group"
	}
	return "remote"
}

// specified turns 0.0.0.0 and :: into no address, which is what they mean.
func specified(addr netip.Addr) netip.Addr {
	if addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr
}

// checkScopes holds the kernel's rules for IPv6 link-local addresses, which
// say nothing without a device and reach nothing outside its link.
func (l *newLink) checkScopes() error {
	remote, local, wide := l.cfg.Remote, l.cfg.Local, l.cfg.IPv6()
	if !wide || !remote.IsLinkLocalUnicast() && !local.IsLinkLocalUnicast() {
		return nil
	}
	if !local.IsLinkLocalUnicast() {
		return usagef("`remote %s` is link-local: it needs a link-local `local` and `dev`; add them", remote)
	}
	if remote.IsValid() && !remote.IsLinkLocalUnicast() && !remote.IsLinkLocalMulticast() {
		return usagef("`local %s` is link-local: it is allowed with a link-local `%s` only, and %s is not", local, remoteWord(&l.cfg), remote)
	}
	if l.cfg.Dev == "" {
		return usagef("`local %s` is link-local: it needs `dev IF`, the device of that link; add it", local)
	}
	return nil
}

// warning is what the user should know about a link that is fine, or "".
func (l *newLink) warning() string {
	if l.hasPort || l.cfg.Bare() {
		return ""
	}
	return "no destination port given: using 8472, the Linux kernel's default (non-standard); " +
		"`dstport 4789` gets the port that IANA assigned, `dstport 0` the default without this message"
}

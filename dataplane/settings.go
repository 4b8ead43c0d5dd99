package dataplane

import (
	"net/netip"

	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/routetable"
)

// newSettings prepares a resolved configuration for the worker.
func newSettings(l *Link, cfg *LinkConfig, devIndex int) *settings {
	ipv6 := cfg.IPv6()
	s := &settings{cfg: *cfg, devIndex: devIndex}
	s.flow = underlay.Flow{
		Outer: underlay.Outer{
			Local: cfg.Local, TTL: cfg.TTL, DF: cfg.DF == DFSet, FlowLabel: cfg.FlowLabel,
			NoCsum: !ipv6 && cfg.Checksum.NoUDP || ipv6 && cfg.Checksum.ZeroTx6,
		},
		Account: l,
		Single:  cfg.NoOffload,
	}
	if cfg.Bare() {
		// The socket is the only one, and bound to the local address.
		s.flow.Bare, s.flow.Socket, s.flow.Local = true, l.pool.Socket(0), netip.Addr{}
	}
	if len(cfg.AllowSources) > 0 {
		s.allowed = routetable.NewPrefixes(cfg.AllowSources...)
	}
	return s
}

// defaultRemote is where frames without an entry of their own go, the remote of
// the all-zero MAC; nil without `remote` and `group`.
func (s *settings) defaultRemote() *routetable.Remote {
	if !s.cfg.Remote.IsValid() {
		return nil
	}
	return &routetable.Remote{Addr: s.cfg.Remote, Port: s.cfg.Port, VNI: s.cfg.VNI, IfIndex: s.devIndex}
}

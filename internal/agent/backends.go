package agent

import (
	"context"
	"fmt"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/daemon"
	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/backend/alloc"
	"github.com/weftnet/weft/internal/flannel/backend/extension"
	"github.com/weftnet/weft/internal/flannel/backend/hostgw"
	"github.com/weftnet/weft/internal/flannel/backend/udp"
	"github.com/weftnet/weft/internal/flannel/backend/userlink"
	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/netconf"
)

// newBackend returns what the config asks for.
func (a *agent) newBackend(place backend.Node, cfg *netconf.Config) (backend.Backend, error) {
	if a.backends != nil {
		return a.backends(place, cfg)
	}
	log := a.Log.Named(cfg.Backend.Type())
	switch cfg.Backend.(type) {
	case *netconf.HostGW:
		return hostgw.New(place, cfg, log), nil
	case *netconf.Alloc:
		return alloc.New(place), nil
	case *netconf.VXLAN:
		return vxlan.New(place, cfg, vxlan.Options{Datapath: vxlan.Datapath(a.Datapath), Daemon: a.linkDaemon(), Log: log}), nil
	case *netconf.UDP:
		return udp.New(place, cfg, udp.Options{Daemon: a.linkDaemon(), Log: log}), nil
	case *netconf.Extension:
		return extension.New(place, cfg, log), nil
	}
	return nil, fmt.Errorf("backend %s is not served", cfg.Backend.Type())
}

// linkDaemon is the daemon of the namespace, which carries the packets of links
// that the kernel has no device for.
func (a *agent) linkDaemon() *userlink.Daemon {
	return &userlink.Daemon{
		Dir: a.RunDir,
		Start: func(ctx context.Context, cfg dataplane.LinkConfig) (control.Response, error) {
			return daemon.Add(ctx, a.RunDir, cfg)
		},
	}
}

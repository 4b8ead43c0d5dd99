package agent

import (
	"fmt"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/backend/alloc"
	"github.com/weftnet/weft/internal/flannel/backend/extension"
	"github.com/weftnet/weft/internal/flannel/backend/hostgw"
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
	case *netconf.Extension:
		return extension.New(place, cfg, log), nil
	}
	return nil, fmt.Errorf("backend %s is not served", cfg.Backend.Type())
}

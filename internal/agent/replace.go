package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/netconf"
)

// follow goes by a config from now on. What those before it made is left,
// unless this one takes it over: it is known until it has been taken back.
func (h *held) follow(place backend.Node, cfg *netconf.Config) error {
	h.Left = slices.DeleteFunc(append(h.Left, h.made), func(m made) bool {
		former, err := m.config()
		return err != nil || former == nil || adopts(cfg, former)
	})
	return h.set(place, cfg)
}

// replace takes back what was left of former configs. What fails is tried again
// by the next start. A config that the node cannot use ends the agent before
// the former one's devices and routes are gone, by which packets still pass:
// until there is a subnet, those alone are taken back that are in the way.
func (n *node) replace(ctx context.Context, which func(cfg, former *netconf.Config) bool) error {
	err := n.takeBack(ctx, func(former *netconf.Config) bool { return which(n.config, former) })
	if err != nil {
		n.Log.Warn("something of the former config is left, which the next start tries again to take back", zap.Error(err))
	}
	return n.memory.save()
}

func (n *node) takeBack(ctx context.Context, which func(former *netconf.Config) bool) error {
	var errs []error
	n.memory.Left = slices.DeleteFunc(n.memory.Left, func(m made) bool {
		former, err := m.config()
		if err != nil || former == nil || !which(former) {
			return false
		}
		n.Log.Info("taking back what the former config needed", zap.String("backend", former.Backend.Type()))
		b, err := n.newBackend(m.Place, former)
		if err == nil {
			err = b.Cleanup(ctx)
		}
		errs = append(errs, err)
		return err == nil
	})
	return errors.Join(errs...)
}

// adopts reports whether the backend of a config takes over, or away, all that
// one of the former config made. What is called the same it adopts or makes
// anew; routes and addresses of another network nobody would know for its own
// any more.
func adopts(cfg, former *netconf.Config) bool {
	same := sameNetwork
	if besideDevice(former) {
		same = allowsAll
	}
	return deviceOf(cfg) == deviceOf(former) && same(cfg.IPv4, former.IPv4) && same(cfg.IPv6, former.IPv6)
}

// besideDevice reports whether a config has routes that no device of weft's
// takes with it. They are known by the subnets that they lead to.
func besideDevice(cfg *netconf.Config) bool {
	v, ok := cfg.Backend.(*netconf.VXLAN)
	return cfg.Backend.Type() == netconf.TypeHostGW || ok && v.DirectRouting
}

// sameNetwork reports whether a network is the former one, if there was one.
func sameNetwork(r, former netconf.Range) bool {
	return !former.Enabled() || r.Network == former.Network
}

// allowsAll reports whether each subnet of the former network is one still.
func allowsAll(r, former netconf.Range) bool {
	return sameNetwork(r, former) && r.SubnetLen == former.SubnetLen && !former.Min.Less(r.Min) && !r.Max.Less(former.Max)
}

// deviceOf tells configs apart whose nodes have different devices or routes.
func deviceOf(cfg *netconf.Config) string {
	if v, ok := cfg.Backend.(*netconf.VXLAN); ok {
		return fmt.Sprint(v.Type(), v.VNI)
	}
	return cfg.Backend.Type()
}

// inTheWay reports whether nothing can be made for a config while there is what
// a former one made, of the same name or with the same port.
func inTheWay(cfg, former *netconf.Config) bool {
	return deviceOf(cfg) == deviceOf(former) || portOf(cfg) != 0 && portOf(cfg) == portOf(former)
}

func portOf(cfg *netconf.Config) uint16 {
	switch b := cfg.Backend.(type) {
	case *netconf.VXLAN:
		return b.Port
	case *netconf.UDP:
		return b.Port
	}
	return 0
}

func all(_, _ *netconf.Config) bool { return true }

// Package agent is the control plane of one flannel node: it gets the node a
// subnet, has a backend reach those of the others, and keeps both as the
// registry says. No packet passes through it.
package agent

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/embedded"
	"github.com/weftnet/weft/internal/flannel/iface"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
)

// Options are what the command line says.
type Options struct {
	Registry    registry.Options
	Embedded    embedded.Options // no URL: the store is elsewhere
	Interface   iface.Choice
	SubnetFile  string
	RenewMargin time.Duration // how long before its end the lease is renewed
	Datapath    string        // of the vxlan backend: user, kernel or auto

	Masquerade bool // --ip-masq
	FixedPorts bool // --ip-masq-fully-random-disable
	Forward    bool // --iptables-forward-rules
	Blackhole  bool // --ip-blackhole-route
	Resync     time.Duration
	Health     netip.AddrPort // port 0: no probes
	RunDir     control.RunDir // of the daemon that serves the links
	Log        *zap.Logger

	// Instead of what there is, for tests.
	backends func(backend.Node, *netconf.Config) (backend.Backend, error)
	filter   packetFilter
	ttl      time.Duration // of leases, 0 for flannel's
}

// Run is the life of a node. It ends with ctx, which is no error, and leaves
// all there is, so that the node's packets pass and another agent goes on with
// what it finds. Otherwise it returns why the node cannot go on.
func Run(ctx context.Context, o Options) error {
	a := &agent{Options: o, status: newStatus()}
	defer a.close()
	err := a.run(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		a.Log.Info("stopped: devices, routes, rules and the lease stay; `weft agent --cleanup` takes them back")
		return nil
	}
	return err
}

// agent is one Run. Its fields are set one after the other by the steps of the
// start, and then stay.
type agent struct {
	Options
	status *status
	undo   []func() // in reverse order, when it ends
}

func (a *agent) atEnd(f func()) { a.undo = append(a.undo, f) }

func (a *agent) close() {
	for i := len(a.undo) - 1; i >= 0; i-- {
		a.undo[i]()
	}
}

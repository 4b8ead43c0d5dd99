package dataplane

import (
	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane/internal/injector"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// tunnelGSO is the way past the sockets for TCP super-frames, of one
// namespace: all ports share the private interface, which is there as long as
// a port is that has a link with offloads.
type tunnelGSO struct {
	device *injector.Device // nil without
	why    string           // there is none; "" before it was asked for
}

// useTunnelGSO lets a port inject super-frames, if the system does.
func (p *port) useTunnelGSO() {
	t := &p.owner.tunnel
	if p.sender.Injects() || p.refused.has(TunnelGSO) {
		return
	}
	if t.device == nil && t.why == "" {
		t.open(p.log)
	}
	if t.device == nil {
		p.refused.refuse(TunnelGSO, t.why)
		return
	}
	if err := p.openRoutes(); err != nil {
		p.refused.refuse(TunnelGSO, err.Error())
		return
	}
	p.loop.do(func() { p.sender.UseInjector(t.device) })
}

// openRoutes lets the worker ask how remotes are reached.
func (p *port) openRoutes() error {
	if p.routes != nil {
		return nil
	}
	routes, err := underlay.OpenRoutes()
	if err == nil {
		p.loop.do(func() { p.routes = routes })
	}
	return err
}

func (t *tunnelGSO) open(log *zap.Logger) {
	device, err := injector.Open()
	if err != nil {
		t.why = err.Error()
		log.Info("offload is not used", zap.String("offload", tunnelGSOName), zap.String("why", t.why))
		return
	}
	t.device = device
}

// close deletes the private interface. No port may use it any more. The next
// port asks the system again.
func (t *tunnelGSO) close() {
	if t.device != nil {
		t.device.Close()
	}
	*t = tunnelGSO{}
}

// inject sends a super-frame whole, if it may and the underlay device is one
// that can cut it or carry it. It reports whether it did.
//
// What the sockets would send in another way than the device does, they send:
// fragments, copies to a group, a congestion mark to be told once (CWR).
func (l *Link) inject(o *outgoing, r *routetable.Remote) bool {
	p := l.port
	if !p.sender.Injects() || o.flow.Single || !o.cutByDevice() || r.Addr.IsMulticast() || l.path == nil {
		return false
	}
	if mtu := l.path.Of(r.Addr, r.IfIndex, p.now); o.size+l.outer > mtu {
		return false
	}
	via := p.routes.Of(r.Addr, o.flow.Local, r.IfIndex, p.now)
	return via.Whole() == "" && p.sender.Inject(&o.flow, via, r.VNI, o.Packet, &o.layout, o.counted())
}

// cutByDevice reports whether a device cuts the super-frame as weft would.
func (o *outgoing) cutByDevice() bool {
	const tcpFlags, tcpCWR = 13, 0x80
	return o.GSO.Type != encap.GSOUDP && o.GSO.NeedsCsum && o.layout.Tags == 0 && o.layout.L4 != 0 && o.Frame[o.layout.L4+tcpFlags]&tcpCWR == 0
}

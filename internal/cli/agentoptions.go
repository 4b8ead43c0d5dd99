package cli

import (
	"flag"
	"io"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weftnet/weft/internal/agent"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/daemon"
	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/flannel/store"
)

// options checks the flags and makes of them what the agent goes by.
func (f *agentFlags) options(log io.Writer) (o agent.Options, err error) {
	if err := f.checkNumbers(); err != nil {
		return o, err
	}
	dir, err := control.RunDirFromEnv()
	if err != nil {
		return o, err
	}
	o = agent.Options{
		SubnetFile: f.subnetFile, RenewMargin: minutes(f.margin), Datapath: f.datapath,
		Masquerade: f.masq, FixedPorts: f.fixedPorts, Forward: f.forward, Blackhole: f.blackhole,
		Resync: time.Duration(f.resync) * time.Second, RunDir: dir, Log: f.logger(log),
	}
	if o.Health, err = f.health(); err != nil {
		return o, err
	}
	if o.Interface, err = f.choice(); err != nil {
		return o, err
	}
	if o.Embedded, err = f.stores(string(dir)); err != nil {
		return o, err
	}
	o.Registry, err = f.registry()
	return o, err
}

func (f *agentFlags) checkNumbers() error {
	for _, err := range []error{
		inRange("etcd-api", f.api, 2, 3),
		inRange("subnet-lease-renew-margin", f.margin, 1, 1439),
		inRange("iptables-resync", f.resync, 1, 86400),
		inRange("healthz-port", f.healthPort, 0, 65535),
		oneOf("datapath", f.datapath, string(vxlan.Auto), string(vxlan.Kernel), string(vxlan.User)),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *agentFlags) health() (netip.AddrPort, error) {
	a, err := netip.ParseAddr(f.healthIP)
	if err != nil {
		return netip.AddrPort{}, usagef("--healthz-ip=%s: wanted is an IP address", f.healthIP)
	}
	return netip.AddrPortFrom(a, uint16(f.healthPort)), nil
}

// registry says where the network is kept: in the store of this process, if
// there is one and no other is named.
func (f *agentFlags) registry() (registry.Options, error) {
	o := registry.Options{
		Options: store.Options{
			Endpoints: splitList(f.endpoints),
			CertFile:  f.certFile, KeyFile: f.keyFile, CAFile: f.caFile,
			Username: f.username, Password: f.password,
		},
		Prefix: f.prefix, API: f.api,
	}
	named := false
	f.set.Visit(func(one *flag.Flag) { named = named || one.Name == "etcd-endpoints" })
	if f.embedded != "" && !named {
		o.Endpoints = []string{reachable(f.embedded)}
	}
	if _, err := o.Complete(); err != nil {
		return o, usagef("%v", err)
	}
	return o, nil
}

// reachable is how this host itself reaches a store that listens on all
// addresses.
func reachable(url string) string {
	return strings.NewReplacer("//0.0.0.0:", "//127.0.0.1:", "//[::]:", "//[::1]:").Replace(url)
}

// logger writes lines for people, as the daemon does.
func (f *agentFlags) logger(w io.Writer) *zap.Logger {
	level := zapcore.InfoLevel
	if f.verbosity > 0 {
		level = zapcore.DebugLevel
	}
	log := daemon.NewLogger(w, level)
	for _, w := range f.warnings {
		log.Warn(w)
	}
	if f.vmodule != "" || f.backtrace != "" {
		log.Warn("--vmodule and --log_backtrace_at name files of flannel's source, which are not here: they do nothing")
	}
	return log
}

package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weftnet/weft/internal/flannel/embedded"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/flannel/subnetenv"
	"github.com/weftnet/weft/internal/spelling"
)

// agentFlags are flanneld's and weft's own, as they were written.
type agentFlags struct {
	set *flag.FlagSet

	endpoints, prefix         string
	certFile, keyFile, caFile string
	username, password        string
	api                       int
	embedded, embeddedDir     string
	ifaces, regexes           list
	canReach, public, public6 string
	subnetFile                string
	margin                    int
	masq, fixedPorts          bool
	forward, blackhole        bool
	resync                    int
	healthIP                  string
	healthPort                int
	datapath                  string
	cleanup, version          bool
	verbosity                 int
	vmodule, backtrace        string
	kube                      bool
	refusal                   error    // of a flag that is not served
	warnings                  []string // about variables
}

func newAgentFlags() *agentFlags {
	f := &agentFlags{set: flag.NewFlagSet("agent", flag.ContinueOnError)}
	f.set.SetOutput(io.Discard)
	f.store()
	f.place()
	f.rules()
	f.process()
	for name, why := range refusedFlags {
		f.set.Var(unserved{f, name, why}, name, "")
	}
	return f
}

func (f *agentFlags) store() {
	s := f.set
	s.StringVar(&f.endpoints, "etcd-endpoints", "http://127.0.0.1:4001,http://127.0.0.1:2379", "`URLs` of etcd, with commas between")
	s.StringVar(&f.prefix, "etcd-prefix", registry.DefaultPrefix, "the `path` in etcd below which the network is kept")
	s.IntVar(&f.api, "etcd-api", 3, "the `version` of etcd's interface: 3, or 2 for networks of flannel before 0.18")
	s.StringVar(&f.certFile, "etcd-certfile", "", "`file` of this client's certificate")
	s.StringVar(&f.keyFile, "etcd-keyfile", "", "`file` of its key")
	s.StringVar(&f.caFile, "etcd-cafile", "", "`file` of the authority that signs etcd's certificates")
	s.StringVar(&f.username, "etcd-username", "", "`user` of etcd")
	s.StringVar(&f.password, "etcd-password", "", "the user's `password`, better given as FLANNELD_ETCD_PASSWORD")
	s.Var((*optionalURL)(&f.embedded), "embedded-etcd", "run etcd in this process, at `=URL` (without one "+embedded.DefaultURL+")")
	s.StringVar(&f.embeddedDir, "embedded-etcd-dir", "", "`directory` of its data, etcd below the run directory if none is given")
}

func (f *agentFlags) place() {
	s := f.set
	s.Var(&f.ifaces, "iface", "`name` or address of the interface by which the nodes reach each other; may be given several times, the first that is there counts")
	s.Var(&f.regexes, "iface-regex", "regular `expression` for its address or else its name, tried behind --iface; may be given several times")
	s.StringVar(&f.canReach, "iface-can-reach", "", "the interface that this `address` is reached by, tried last")
	s.StringVar(&f.public, "public-ip", "", "IPv4 `address` that the others send to; that of the interface if none is given")
	s.StringVar(&f.public6, "public-ipv6", "", "IPv6 `address` that the others send to")
	s.StringVar(&f.subnetFile, "subnet-file", subnetenv.DefaultPath, "`file` that tells the subnet")
	s.IntVar(&f.margin, "subnet-lease-renew-margin", 60, "`minutes` before its end that the lease is renewed, 1 to 1439")
	s.StringVar(&f.datapath, "datapath", "auto", "of vxlan: user, kernel, or auto, which is kernel where that works")
}

func (f *agentFlags) rules() {
	s := f.set
	s.BoolVar(&f.masq, "ip-masq", false, "masquerade what leaves the network")
	s.BoolVar(&f.fixedPorts, "ip-masq-fully-random-disable", false, "do not choose the ports of masqueraded packets at random")
	s.BoolVar(&f.forward, "iptables-forward-rules", true, "let the network's packets be forwarded")
	s.IntVar(&f.resync, "iptables-resync", 5, "`seconds` between two looks at the rules")
	s.BoolVar(&f.blackhole, "ip-blackhole-route", false, "drop packets for addresses of the subnet that nobody has")
}

func (f *agentFlags) process() {
	s := f.set
	s.StringVar(&f.healthIP, "healthz-ip", "0.0.0.0", "`address` on which /healthz and /readyz are answered")
	s.IntVar(&f.healthPort, "healthz-port", 0, "their `port`, 0 for none")
	s.BoolVar(&f.cleanup, "cleanup", false, "take devices, routes, rules, files and the lease of this node back, and end")
	s.BoolVar(&f.version, "version", false, "print the version and end")
	s.BoolVar(&f.kube, "kube-subnet-mgr", false, "")
	s.IntVar(&f.verbosity, "v", 0, "`level` of the log: 1 and more also tell of what is done without trouble")
	s.StringVar(&f.vmodule, "vmodule", "", "")
	s.StringVar(&f.backtrace, "log_backtrace_at", "", "")
}

const (
	kubernetes = "leases are kept in etcd alone, not in Kubernetes; leave it out"
	dropped    = "flannel itself dropped it in 0.8; leave it out and run one agent for each network"
)

// refusedFlags are those of flanneld that are not served, with the reason.
var refusedFlags = map[string]string{
	"kube-api-url": kubernetes, "kubeconfig-file": kubernetes, "kube-annotation-prefix": kubernetes,
	"net-config-path": kubernetes, "set-node-network-unavailable": kubernetes, "use-multi-cluster-cidr": kubernetes,
	"listen": dropped, "remote": dropped, "remote-keyfile": dropped, "remote-certfile": dropped, "remote-cafile": dropped,
	"networks": dropped, "subnet-dir": dropped,
}

// parse reads the command line, then the environment for what it does not say.
func (f *agentFlags) parse(words []string) error {
	if err := f.set.Parse(words); err != nil {
		return f.explain(err)
	}
	if rest := f.set.Args(); len(rest) > 0 {
		return usagef("unknown word %q: the agent takes flags alone; the value of a switch stands behind =, as in --ip-masq=true", rest[0])
	}
	if err := f.environment(os.Environ()); err != nil {
		return err
	}
	if f.kube {
		return usagef("--kube-subnet-mgr is not served: %s", kubernetes)
	}
	return nil
}

const undefined = "flag provided but not defined: -"

// explain turns what package flag says into what a person can do.
func (f *agentFlags) explain(err error) error {
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case f.refusal != nil: // package flag wraps it in words of its own
		return f.refusal
	}
	name, found := strings.CutPrefix(err.Error(), undefined)
	if !found {
		return usagef("%s", strings.NewReplacer("flag -", "flag --", "argument: -", "argument: --").Replace(err.Error()))
	}
	meant := ""
	if near := spelling.Nearest(name, f.names()); near != "" {
		meant = "; did you mean --" + near + "?"
	}
	return usagef("unknown flag --%s%s", name, meant)
}

// names are the flags that are served.
func (f *agentFlags) names() (names []string) {
	f.set.VisitAll(func(one *flag.Flag) {
		if one.Usage != "" {
			names = append(names, one.Name)
		}
	})
	return names
}

const envPrefix = "FLANNELD_"

func variable(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// environment sets what the command line does not say.
func (f *agentFlags) environment(env []string) error {
	said := map[string]bool{}
	f.set.Visit(func(one *flag.Flag) { said[one.Name] = true })
	flags := map[string]string{}
	f.set.VisitAll(func(one *flag.Flag) { flags[variable(one.Name)] = one.Name })
	for _, setting := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(setting, "=")
		of, known := flags[name]
		switch {
		case !strings.HasPrefix(name, envPrefix) || said[of]:
		case !known:
			f.warnings = append(f.warnings, unknownVariable(name, slices.Collect(maps.Keys(flags))))
		case value != "":
			if err := f.set.Set(of, value); err != nil {
				return usagef("%s=%s: %v", name, value, err)
			}
		}
	}
	return nil
}

func unknownVariable(name string, known []string) string {
	if near := spelling.Nearest(name, known); near != "" {
		return fmt.Sprintf("the variable %s belongs to no flag; did you mean %s?", name, near)
	}
	return fmt.Sprintf("the variable %s belongs to no flag", name)
}

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }

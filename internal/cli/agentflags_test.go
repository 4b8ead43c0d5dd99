package cli

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/agent"
	"github.com/weftnet/weft/internal/control"
)

// agentOptions is what a command line with an environment means.
func agentOptions(t *testing.T, line string, env ...string) (agent.Options, string) {
	t.Helper()
	t.Setenv(control.EnvRunDir, "/r")
	for _, setting := range env {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	f := newAgentFlags()
	if err := f.parse(strings.Fields(line)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	o, err := f.options(&log)
	if err != nil {
		t.Fatal(err)
	}
	o.Log = nil
	return o, log.String()
}

// Without a flag, all is as flanneld has it.
func TestAgentDefaults(t *testing.T) {
	o, log := agentOptions(t, "")
	want := agent.Options{
		SubnetFile: "/run/flannel/subnet.env", RenewMargin: time.Hour, Datapath: "auto", Forward: true,
		Resync: 5 * time.Second, Health: netip.MustParseAddrPort("0.0.0.0:0"), RunDir: "/r",
	}
	want.Registry.Endpoints = []string{"http://127.0.0.1:4001", "http://127.0.0.1:2379"}
	want.Registry.Prefix, want.Registry.API = "/coreos.com/network", 3
	if !reflect.DeepEqual(o, want) || log != "" {
		t.Errorf("%+v, want %+v\n%s", o, want, log)
	}
}

// Each flag is read in each form, and from its variable; the line counts more.
func TestAgentFlags(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		get   func(agent.Options) any
		want  any
	}{
		"etcd-endpoints": {"http://a:1,http://b:2", func(o agent.Options) any { return o.Registry.Endpoints }, []string{"http://a:1", "http://b:2"}},
		"etcd-prefix":    {"/atomic.io/network", func(o agent.Options) any { return o.Registry.Prefix }, "/atomic.io/network"},
		"etcd-api":       {"2", func(o agent.Options) any { return o.Registry.API }, 2},
		"etcd-cafile":    {"ca.pem", func(o agent.Options) any { return o.Registry.CAFile }, "ca.pem"},
		"etcd-username":  {"u", func(o agent.Options) any { return o.Registry.Username }, "u"},
		"etcd-password":  {"p", func(o agent.Options) any { return o.Registry.Password }, "p"},
		"iface":          {"eth1", func(o agent.Options) any { return o.Interface.Ifaces }, []string{"eth1"}},
		"iface-regex":    {"^10", func(o agent.Options) any { return o.Interface.Regexes[0].String() }, "^10"},
		"iface-can-reach": {"192.0.2.1", func(o agent.Options) any { return o.Interface.CanReach },
			netip.MustParseAddr("192.0.2.1")},
		"public-ip":                    {"192.0.2.2", func(o agent.Options) any { return o.Interface.Public }, netip.MustParseAddr("192.0.2.2")},
		"public-ipv6":                  {"2001:db8::2", func(o agent.Options) any { return o.Interface.Public6 }, netip.MustParseAddr("2001:db8::2")},
		"subnet-file":                  {"./subnet.env", func(o agent.Options) any { return o.SubnetFile }, "./subnet.env"},
		"subnet-lease-renew-margin":    {"90", func(o agent.Options) any { return o.RenewMargin }, 90 * time.Minute},
		"datapath":                     {"user", func(o agent.Options) any { return o.Datapath }, "user"},
		"ip-masq":                      {"true", func(o agent.Options) any { return o.Masquerade }, true},
		"ip-masq-fully-random-disable": {"true", func(o agent.Options) any { return o.FixedPorts }, true},
		"iptables-forward-rules":       {"false", func(o agent.Options) any { return o.Forward }, false},
		"ip-blackhole-route":           {"true", func(o agent.Options) any { return o.Blackhole }, true},
		"iptables-resync":              {"7", func(o agent.Options) any { return o.Resync }, 7 * time.Second},
		"healthz-ip":                   {"127.0.0.1", func(o agent.Options) any { return o.Health.Addr() }, netip.MustParseAddr("127.0.0.1")},
		"healthz-port":                 {"2401", func(o agent.Options) any { return o.Health.Port() }, uint16(2401)},
		"embedded-etcd":                {"http://10.0.0.1:2379", func(o agent.Options) any { return o.Embedded.URL }, "http://10.0.0.1:2379"},
	} {
		t.Run(name, func(t *testing.T) {
			forms := []string{"-" + name + "=" + c.value, "--" + name + "=" + c.value}
			if c.value != "true" && c.value != "false" && name != "embedded-etcd" {
				forms = append(forms, "-"+name+" "+c.value, "--"+name+" "+c.value)
			}
			if c.value == "true" {
				forms = append(forms, "-"+name, "--"+name)
			}
			for _, form := range forms {
				if o, _ := agentOptions(t, form); !reflect.DeepEqual(c.get(o), c.want) {
					t.Errorf("%s: %v, want %v", form, c.get(o), c.want)
				}
			}
			if o, log := agentOptions(t, "", variable(name)+"="+c.value); !reflect.DeepEqual(c.get(o), c.want) || log != "" {
				t.Errorf("%s=%s: %v, want %v\n%s", variable(name), c.value, c.get(o), c.want, log)
			}
		})
	}
}

func TestAgentCertificates(t *testing.T) {
	o, _ := agentOptions(t, "-etcd-keyfile=./client-key.pem -etcd-certfile=./client.pem", "FLANNELD_ETCD_CAFILE=./ca.pem")
	if r := o.Registry; r.KeyFile != "./client-key.pem" || r.CertFile != "./client.pem" || r.CAFile != "./ca.pem" {
		t.Errorf("%+v", r)
	}
}

// What is on the command line counts more than a variable, and of what may be
// given several times, all of it.
func TestAgentPrecedence(t *testing.T) {
	o, _ := agentOptions(t, "--iface=eth1 --iface=eth2 --healthz-port=1", "FLANNELD_IFACE=eth3", "FLANNELD_HEALTHZ_PORT=2", "FLANNELD_PUBLIC_IP=")
	if !reflect.DeepEqual(o.Interface.Ifaces, []string{"eth1", "eth2"}) || o.Health.Port() != 1 || o.Interface.Public.IsValid() {
		t.Errorf("%+v", o)
	}
}

func TestAgentWarnings(t *testing.T) {
	_, log := agentOptions(t, "-v=10 --vmodule=main=3 --log_backtrace_at=main.go:7 --kube-subnet-mgr=false", "FLANNELD_ETCD_ENDPOINT=x", "FLANNELD_V=1")
	for _, want := range []string{
		"the variable FLANNELD_ETCD_ENDPOINT belongs to no flag; did you mean FLANNELD_ETCD_ENDPOINTS?",
		"--vmodule and --log_backtrace_at name files of flannel's source, which are not here: they do nothing",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%s\nwant %s", log, want)
		}
	}
	if strings.Count(log, "\n") != 2 {
		t.Error(log)
	}
}

// A store in the process is the one that is used unless another is named.
func TestAgentEmbedded(t *testing.T) {
	for line, want := range map[string]string{
		"--embedded-etcd":                                                "http://127.0.0.1:2379 http://127.0.0.1:2379",
		"--embedded-etcd=http://0.0.0.0:2380":                            "http://0.0.0.0:2380 http://127.0.0.1:2380",
		"--embedded-etcd=http://[::]:2380":                               "http://[::]:2380 http://[::1]:2380",
		"--embedded-etcd=http://10.0.0.1:2379 --etcd-endpoints=http://e": "http://10.0.0.1:2379 http://e",
	} {
		o, _ := agentOptions(t, line)
		if got := o.Embedded.URL + " " + strings.Join(o.Registry.Endpoints, ","); got != want || o.Embedded.Dir != filepath.Join("/r", "etcd") {
			t.Errorf("%s: %s in %s, want %s", line, got, o.Embedded.Dir, want)
		}
	}
	if o, _ := agentOptions(t, "--embedded-etcd=false"); o.Embedded.URL != "" {
		t.Error(o.Embedded)
	}
	if o, _ := agentOptions(t, "--embedded-etcd --embedded-etcd-dir=/d"); o.Embedded.Dir != "/d" {
		t.Error(o.Embedded)
	}
}

func TestAgentRefusedVariable(t *testing.T) {
	for setting, want := range map[string]string{
		"FLANNELD_KUBE_SUBNET_MGR=true":  "--kube-subnet-mgr is not served",
		"FLANNELD_NET_CONFIG_PATH=/x":    "--net-config-path is not served",
		"FLANNELD_HEALTHZ_PORT=many":     "FLANNELD_HEALTHZ_PORT=many: parse error",
		"FLANNELD_IP_MASQ=perhaps":       "FLANNELD_IP_MASQ=perhaps",
		"FLANNELD_ETCD_ENDPOINTS=x:2379": `--etcd-endpoints "x:2379": wanted is a URL`,
	} {
		name, value, _ := strings.Cut(setting, "=")
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if status, _, stderr := weft(t, "agent"); status != badUsage || !strings.HasPrefix(stderr, "weft: ") || !strings.Contains(stderr, want) {
				t.Error(status, stderr)
			}
		})
	}
}

// Under flanneld's name the program is the agent, and answers as flanneld does.
func TestAgentAsFlanneld(t *testing.T) {
	var out, errs bytes.Buffer
	if status := Main([]string{"/opt/bin/flanneld", "-version"}, strings.NewReader(""), &out, &errs); status != done || out.Len() > 0 || errs.String() != builtVersion().Version+"\n" {
		t.Error(status, out.String(), errs.String())
	}
	errs.Reset()
	if status := Main([]string{"flanneld", "--kube-subnet-mgr"}, strings.NewReader(""), &out, &errs); status != badUsage || !strings.HasPrefix(errs.String(), "weft: --kube-subnet-mgr is not served") {
		t.Error(status, errs.String())
	}
}

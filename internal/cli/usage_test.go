package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/control"
)

// weft runs the command line in this process, with a run directory of its own
// that does not exist yet.
func weft(t *testing.T, words ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = Main(append([]string{"weft"}, words...), strings.NewReader(""), &out, &errs)
	return status, out.String(), errs.String()
}

// Whatever is wrong with a command line, it exits 2, says so in one line on
// standard error, prints nothing else, and starts and leaves nothing.
func TestBadUsage(t *testing.T) {
	for line, want := range map[string]string{
		"":                                              "no command given: allowed are addr, agent, bench, completion, daemon, docker-opts, fdb, help, link, monitor, route, stats, version",
		"lnk":                                           "did you mean `link`",
		"fdbs":                                          "did you mean `fdb`",
		"fdb foo":                                       `unknown command "foo": allowed are add, append, del, flush, replace, show`,
		"fdb add":                                       "no address given",
		"fdb add 02:00:00:00:00:01":                     "no link given: `fdb add` needs `dev NAME`",
		"fdb add dev a dst 10.0.0.1":                    "no address given: `fdb add` needs a MAC address",
		"fdb add 02:00:00:00:01 dev a":                  `"02:00:00:00:01" is neither a word of this command nor a MAC address`,
		"fdb add 02:00:00:00:00:01 vx0":                 `unknown word "vx0"`,
		"fdb add to x dev a":                            "`to x` is refused",
		"fdb add 2:0:0:0:0:1 to 2:0:0:0:0:2":            "exclude each other",
		"fdb add 2:0:0:0:0:1 dst host":                  "`dst host` is refused",
		"fdb add 2:0:0:0:0:1 dst fe80::1%a":             "write `fe80::1` and `dev a`",
		"fdb add 2:0:0:0:0:1 port 65536":                "`port 65536` is refused",
		"fdb add 2:0:0:0:0:1 vni 16777216":              "`vni 16777216` is refused",
		"fdb add 2:0:0:0:0:1 via a/b":                   "`via a/b` is refused",
		"fdb add 2:0:0:0:0:1 dev a dev b":               "`dev` is given twice",
		"fdb add 2:0:0:0:0:1 dev a master":              "`master` is for the bridge",
		"fdb add 2:0:0:0:0:1 dev a sticky":              "`sticky` is for the bridge",
		"fdb add 2:0:0:0:0:1 dev a use":                 "`use` is for the bridge",
		"fdb add 2:0:0:0:0:1 dev a vlan 5":              "`vlan` is for the bridge",
		"fdb add 2:0:0:0:0:1 nhid 5":                    "`nhid` is for nexthop groups",
		"fdb add 2:0:0:0:0:1 src_vni 5":                 "`src_vni` is for devices with several VNIs",
		"fdb del":                                       "no address given: `fdb del`",
		"fdb flush":                                     "no link given: `fdb flush` needs `dev NAME`",
		"fdb flush vx0":                                 `unknown word "vx0"`,
		"fdb flush dev a dynamic nodynamic":             "`dynamic` and `nodynamic` exclude each other",
		"fdb flush dev a nhid 5":                        "`nhid` is for nexthop groups",
		"fdb show br br0":                               "`br` of `bridge fdb show` is not served",
		"fdb show dev vx0 vx1":                          `unknown word "vx1"`,
		"lin show":                                      "did you mean `link`",
		"link foo":                                      `unknown command "foo": allowed are add, del, set, show`,
		"link shw":                                      "did you mean `show`",
		"--jsn":                                         "unknown flag: --jsn",
		"link show -x":                                  "'x' in -x",
		"link show vx0 vx1":                             `unknown word "vx1"`,
		"link show name":                                "`name` needs a value",
		"link del":                                      "no name given",
		"link del a/b":                                  `"a/b"`,
		"link add vx0 type vxlan id x":                  "`id x` is refused",
		"link add vx0 type vxlan id 5 df":               "`df` needs a value: unset|set|inherit",
		"addr foo":                                      `unknown command "foo": allowed are add, del, replace, show`,
		"addr add":                                      "no address given: `addr add` needs an address",
		"addr add 10.0.0.1/24":                          "no device given: `addr add` needs `dev NAME`",
		"addr add 10.0.0.1/33 dev a":                    `"10.0.0.1/33" is neither a word of this command nor an address`,
		"addr add 10.0.0.1/24 a":                        `unknown word "a"`,
		"addr del local x dev a":                        "`local x` is refused",
		"addr add 10.0.0.1/24 peer ::1 dev a":           "both must be IPv4",
		"addr add ::1/64 brd + dev a":                   "IPv4 address only",
		"addr add 10.0.0.1/24 brd ::1":                  "`brd ::1` is refused",
		"addr add 10.0.0.1/24 scope all":                "`scope all` is refused: allowed is global",
		"addr add 10.0.0.1/24 metric 5":                 "use `ip addr`",
		"monitor link":                                  "`link` is not something that weft changes: use `bridge monitor`",
		"monitor fdb all":                               "`fdb` and `all` exclude each other",
		"monitor vx0":                                   `unknown word "vx0"`,
		"monitor dev":                                   "`dev` needs a value",
		"link set":                                      "no name given: `link set` needs the name of a link",
		"link set a/b up":                               `"a/b"`,
		"link set vx0 upp":                              "did you mean `up`",
		"link set vx0 up down":                          "`up` and `down` exclude each other",
		"link set vx0 mtu 1":                            "`mtu 1` is refused",
		"link set vx0 address 1:0:0:0:0:1":              "unicast",
		"link set vx0 master a nomaster":                "exclude each other",
		"link set vx0 type":                             "`type` needs a value",
		"link set vx0 type bridge":                      `unknown type "bridge"`,
		"link set vx0 type vxlan":                       "no word behind `type vxlan`",
		"link set vx0 type vxlan up":                    "`up` belongs before `type`",
		"link set vx0 remote 10.0.0.1 type vxlan ttl 5": "put all in one place",
		"link set vx0 remote 10.0.0.1 group 239.1.1.1":  "`remote` and `group` exclude each other",
		"link set vx0 remote 239.1.1.1":                 "`group 239.1.1.1 dev IF`",
		"link set vx0 group 10.0.0.1":                   "write `remote 10.0.0.1`",
		"link set vx0 dev eth0 dev eth1":                "`dev` is given twice",
		"link set vx0 id x":                             "`id x` is refused",
		"link set vx0 external":                         "`external` of the kernel's device is not something that weft has",
		"link set vx0 offload on":                       "`offload` stays what `link add` made it",
		"link set vx0 netns 5":                          "use `ip link set`",
		"link set vx0 allow-sources 10.0.0.1/8":         "write `10.0.0.0/8`",
		"stats vx0 vx1":                                 `unknown word "vx1"`,
		"version 2":                                     `unknown word "2": ` + "`weft version` takes none",
		"daemon now":                                    `unknown word "now"`,
		"docker-opts now":                               `unknown word "now": allowed are -f FILE`,
		"docker-opts -x":                                "unknown shorthand flag: 'x' in -x: allowed are -f, -d, -i, -c, -k, -m",
		"docker-opts -f":                                "flag needs an argument: 'f' in -f",
		"docker-opts -k A-B":                            "`-k A-B` is refused",
		"agent now":                                     `unknown word "now": the agent takes flags alone`,
		"agent -ip-masq true":                           "the value of a switch stands behind =, as in --ip-masq=true",
		"agent --etcd-endpoint=x":                       "unknown flag --etcd-endpoint; did you mean --etcd-endpoints?",
		"agent -etcd-endpoints":                         "flag needs an argument: --etcd-endpoints",
		"agent --etcd-endpoints=etcd:2379":              `--etcd-endpoints "etcd:2379": wanted is a URL such as http://`,
		"agent --etcd-endpoints=":                       "--etcd-endpoints: no endpoint is given",
		"agent --etcd-certfile=a":                       "--etcd-certfile and --etcd-keyfile belong together",
		"agent --etcd-api=4":                            "--etcd-api=4: wanted is a number from 2 to 3",
		"agent --kube-subnet-mgr":                       "--kube-subnet-mgr is not served: leases are kept in etcd alone",
		"agent -kube-subnet-mgr=true":                   "--kube-subnet-mgr is not served",
		"agent --kube-api-url=http://k":                 "--kube-api-url is not served",
		"agent --kubeconfig-file f":                     "--kubeconfig-file is not served",
		"agent --kube-annotation-prefix=x":              "--kube-annotation-prefix is not served",
		"agent --net-config-path=f":                     "--net-config-path is not served",
		"agent --set-node-network-unavailable=false":    "--set-node-network-unavailable is not served",
		"agent -listen=:8888":                           "--listen is not served: flannel itself dropped it",
		"agent --iface-regex=(":                         "--iface-regex=(: error parsing regexp",
		"agent --iface-can-reach=host":                  "--iface-can-reach=host: wanted is an IP address",
		"agent --public-ip=fd00::1":                     "--public-ip=fd00::1: wanted is an IPv4 address",
		"agent --public-ipv6=10.0.0.1":                  "--public-ipv6=10.0.0.1: wanted is an IPv6 address",
		"agent --subnet-lease-renew-margin=1440":        "--subnet-lease-renew-margin=1440: wanted is a number from 1 to 1439",
		"agent --subnet-lease-renew-margin=x":           `invalid value "x" for flag --subnet-lease-renew-margin`,
		"agent --iptables-resync=0":                     "--iptables-resync=0: wanted is a number from 1",
		"agent --healthz-port=65536":                    "--healthz-port=65536: wanted is a number from 0 to 65535",
		"agent --healthz-ip=x":                          "--healthz-ip=x: wanted is an IP address",
		"agent --datapath=fast":                         "--datapath=fast: allowed are auto, kernel, user",
		"agent --embedded-etcd=https://127.0.0.1:2379":  "where etcd is to be https, run one beside the agent",
		"agent --embedded-etcd=http://etcd:2379":        `"etcd" is a name`,
		"agent --embedded-etcd-dir=/d":                  "there is no --embedded-etcd beside it",
		"completion":                                    "bash|zsh|fish|powershell",
		"completion ksh":                                "bash|zsh|fish|powershell",
		"completion bash zsh":                           `unknown word "zsh"`,
		"help foo":                                      `unknown command "foo"`,
		"help link foo":                                 `unknown command "foo"`,
	} {
		t.Run(line, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			t.Setenv(control.EnvRunDir, dir)
			status, stdout, stderr := weft(t, strings.Fields(line)...)
			if status != badUsage || stdout != "" {
				t.Errorf("status %d, stdout %q", status, stdout)
			}
			if !strings.HasPrefix(stderr, "weft: ") || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("stderr %q, want one line with %q", stderr, want)
			}
			if !strings.Contains(stderr, " -h` shows the usage") {
				t.Errorf("stderr %q does not say where the usage is", stderr)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("the run directory was made: %v", err)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for line, want := range map[string]string{
		"-h":                         "weft [command]",
		"--help":                     "weft [command]",
		"help":                       "weft [command]",
		"help link add":              "type vxlan id VNI",
		"link -h":                    "weft link [command]",
		"link help":                  "weft link [command]",
		"link add -h":                "[dstport PORT]",
		"link add x type vxlan help": "[dstport PORT]",
		"link set -h":                "allow-sources PREFIX...",
		"link set vx0 help":          "weft link set NAME",
		"link del --help":            "weft link del NAME",
		"addr add -h":                "[nodad] [noprefixroute]",
		"fdb -h":                     "weft fdb [command]",
		"fdb add -h":                 "weft fdb add MAC dev NAME [dst IP]",
		"fdb flush -h":               "[[no]permanent]",
		"monitor -h":                 "weft monitor [fdb] [dev NAME]",
		"stats -h":                   "weft stats [NAME]",
		"-h ":                        "--batch",
		"daemon -h":                  "SIGTERM",
		"agent -h":                   "--etcd-endpoints URLs",
		"agent --help":               "--embedded-etcd[=URL]",
		"help agent":                 "--etcd-prefix path",
		"daemon --help":              "--batch",
		"completion -h":              "bash",
		"docker-opts -h":             "mk-docker-opts.sh",
		"docker-opts -i -h":          "mk-docker-opts.sh",
		"-j version -h":              "weft version",
	} {
		status, stdout, stderr := weft(t, strings.Fields(line)...)
		if status != done || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q", line, status, stdout, stderr)
		}
	}
	if _, stdout, _ := weft(t, "daemon", "-h"); strings.Contains(stdout, "--background") {
		t.Error("the flag of the daemon in the background is shown")
	}
}

func TestVersion(t *testing.T) {
	status, stdout, _ := weft(t, "version")
	if status != done || !strings.HasPrefix(stdout, "weft ") || !strings.Contains(stdout, runtime.Version()) {
		t.Errorf("status %d, %q", status, stdout)
	}
	for _, line := range []string{"version -j", "-j version", "--json version"} {
		status, stdout, _ = weft(t, strings.Fields(line)...)
		var got versionInfo
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != done || got.OS != runtime.GOOS || got.Arch != runtime.GOARCH || got.Go != runtime.Version() {
			t.Errorf("%s: status %d, %q, %v", line, status, stdout, err)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if status, stdout, stderr := weft(t, "completion", shell); status != done || !strings.Contains(stdout, "weft") || stderr != "" {
			t.Errorf("%s: status %d, %d bytes, %q", shell, status, len(stdout), stderr)
		}
	}
	for line, want := range map[string]string{
		"__complete li":                        "link",
		"__complete link add vx0 ty":           "type",
		"__complete link add vx0 type v":       "vxlan",
		"__complete link add vx0 type vxlan ":  "udp6zerocsumrx",
		"__complete link set vx0 ma":           "master",
		"__complete link set vx0 type v":       "vxlan",
		"__complete link set vx0 type vxlan r": "remote",
		"__complete addr add br":               "brd",
		"__complete monitor f":                 "fdb",
		"__complete fdb f":                     "flush",
		"__complete fdb append ex":             "extern_learn",
		"__complete fdb flush dev vx0 no":      "nopermanent",
		"__complete completion f":              "fish",
	} {
		words := strings.Split(line, " ")
		if _, stdout, _ := weft(t, words...); !strings.Contains(stdout, want) {
			t.Errorf("%s offers %q, want %s among it", line, stdout, want)
		}
	}
}

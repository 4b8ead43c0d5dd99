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
		"":                                "no command given: allowed are completion, daemon, help, link, stats, version",
		"lnk":                             "did you mean `link`",
		"fdb":                             `unknown command "fdb"`,
		"lin show":                        "did you mean `link`",
		"link foo":                        `unknown command "foo": allowed are add, del, show`,
		"link shw":                        "did you mean `show`",
		"--jsn":                           "unknown flag: --jsn",
		"link show -x":                    "'x' in -x",
		"link show vx0 vx1":               `unknown word "vx1"`,
		"link show name":                  "`name` needs a value",
		"link del":                        "no name given",
		"link del a/b":                    `"a/b"`,
		"link add vx0 type vxlan id x":    "`id x` is refused",
		"link add vx0 type vxlan id 5 df": "`df` needs a value: unset|set|inherit",
		"stats vx0 vx1":                   `unknown word "vx1"`,
		"version 2":                       `unknown word "2": ` + "`weft version` takes none",
		"daemon now":                      `unknown word "now"`,
		"completion":                      "bash|zsh|fish|powershell",
		"completion ksh":                  "bash|zsh|fish|powershell",
		"completion bash zsh":             `unknown word "zsh"`,
		"help foo":                        `unknown command "foo"`,
		"help link foo":                   `unknown command "foo"`,
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
		"link del --help":            "weft link del NAME",
		"stats -h":                   "weft stats [NAME]",
		"daemon -h":                  "SIGTERM",
		"completion -h":              "bash",
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
		"__complete li":                       "link",
		"__complete link add vx0 ty":          "type",
		"__complete link add vx0 type v":      "vxlan",
		"__complete link add vx0 type vxlan ": "udp6zerocsumrx",
		"__complete completion f":             "fish",
	} {
		words := strings.Split(line, " ")
		if _, stdout, _ := weft(t, words...); !strings.Contains(stdout, want) {
			t.Errorf("%s offers %q, want %s among it", line, stdout, want)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"remote", "local", "dev", "dstport", "srcport", "id"}
	for typed, want := range map[string]string{
		"remot": "remote", "lokal": "local", "dstprot": "dstport", "srcprt": "srcport",
		"x": "", "bogus": "", "": "",
	} {
		if got := nearest(typed, words); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

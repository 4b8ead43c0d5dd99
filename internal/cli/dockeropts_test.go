package cli

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const sampleEnv = `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.74.1/24
FLANNEL_MTU=1472
FLANNEL_IPMASQ=false
`

// dockerOptions runs `weft docker-opts` on the text of a subnet file, and
// returns what it wrote.
func dockerOptions(t *testing.T, env string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "subnet.env"), filepath.Join(dir, "docker.env")
	if err := os.WriteFile(from, []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := weft(t, append([]string{"docker-opts", "-f", from, "-d", to}, flags...)...)
	if status != done || stdout != "" || stderr != "" {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	text, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What flannel's own tests of mk-docker-opts.sh want, byte for byte.
func TestDockerOptsOfFlannel(t *testing.T) {
	const (
		bip      = "DOCKER_OPT_BIP=\"--bip=10.1.74.1/24\"\n"
		masq     = "DOCKER_OPT_IPMASQ=\"--ip-masq=true\"\n"
		mtu      = "DOCKER_OPT_MTU=\"--mtu=1472\"\n"
		combined = "=\" --bip=10.1.74.1/24 --ip-masq=true --mtu=1472\"\n"
	)
	for flags, want := range map[string]string{
		"":              bip + masq + mtu + "DOCKER_OPTS" + combined,
		"-i":            bip + masq + mtu,
		"-c":            "DOCKER_OPTS" + combined,
		"-k CUSTOM_KEY": bip + masq + mtu + "CUSTOM_KEY" + combined,
		"-m":            bip + mtu + "DOCKER_OPTS=\" --bip=10.1.74.1/24 --mtu=1472\"\n",
		"-ic":           bip + masq + mtu + "DOCKER_OPTS" + combined,
		"-ckKEY":        "KEY" + combined,
		"-cm -k A_1":    "A_1=\" --bip=10.1.74.1/24 --mtu=1472\"\n",
	} {
		if got := dockerOptions(t, sampleEnv, strings.Fields(flags)...); got != want {
			t.Errorf("docker-opts %s:\n%s\nwant\n%s", flags, got, want)
		}
	}
}

func TestDockerOptsMasquerade(t *testing.T) {
	env := strings.Replace(sampleEnv, "IPMASQ=false", "IPMASQ=true", 1)
	if got := dockerOptions(t, env, "-c"); !strings.Contains(got, " --ip-masq=false ") {
		t.Errorf("with FLANNEL_IPMASQ=true: %s", got)
	}
	if got := dockerOptions(t, "FLANNEL_SUBNET=10.1.74.1/24\n"); got != "DOCKER_OPT_BIP=\"--bip=10.1.74.1/24\"\nDOCKER_OPTS=\" --bip=10.1.74.1/24\"\n" {
		t.Errorf("of a subnet alone: %s", got)
	}
}

// What the script finds in its environment it takes over.
func TestDockerOptsFromEnvironment(t *testing.T) {
	t.Setenv("DOCKER_OPTS", "--debug")
	t.Setenv("DOCKER_OPT_EXTRA", `--label=a="b"`)
	t.Setenv("DOCKER_OPT_MTU", "--mtu=1")
	want := `DOCKER_OPT_BIP="--bip=10.1.74.1/24"
DOCKER_OPT_EXTRA="--label=a=\"b\""
DOCKER_OPT_IPMASQ="--ip-masq=true"
DOCKER_OPT_MTU="--mtu=1472"
DOCKER_OPTS="--debug  --bip=10.1.74.1/24 --label=a=\"b\" --ip-masq=true --mtu=1472"
`
	if got := dockerOptions(t, sampleEnv); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// As from a unit with EnvironmentFile=, without a file.
	t.Setenv("FLANNEL_SUBNET", "10.9.8.1/24")
	to := filepath.Join(t.TempDir(), "to")
	if status, _, stderr := weft(t, "docker-opts", "-f", "/no/such/file", "-i", "-d", to); status != done {
		t.Fatalf("status %d, %s", status, stderr)
	}
	if text, _ := os.ReadFile(to); !strings.Contains(string(text), "--bip=10.9.8.1/24") {
		t.Errorf("wrote %s", text)
	}
}

// Nothing is written when something is wrong: Docker keeps what it had.
func TestDockerOptsRefusals(t *testing.T) {
	for env, want := range map[string]string{
		"FLANNEL_SUBNET=10.1.74.1\n":                        "invalid value of FLANNEL_SUBNET in ",
		"FLANNEL_SUBNET=10.1.74.1/24\nFLANNEL_MTU=big\n":    "invalid value of FLANNEL_MTU in ",
		"FLANNEL_SUBNET=10.1.74.1/24\nFLANNEL_MTU=0\n":      "wanted is a number of bytes",
		"FLANNEL_SUBNET=10.1.74.1/24\nFLANNEL_IPMASQ=yes\n": "yes: wanted is true or false",
		"":              "sets no FLANNEL_SUBNET",
		"<html></html>": "sets no FLANNEL_SUBNET",
	} {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		for path, text := range map[string]string{from: env, to: "before"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		status, _, stderr := weft(t, "docker-opts", "-f", from, "-d", to)
		if status != failed || !strings.HasPrefix(stderr, "weft: ") || !strings.Contains(stderr, want) {
			t.Errorf("%q: status %d, stderr %q", env, status, stderr)
		}
		if text, _ := os.ReadFile(to); string(text) != "before" {
			t.Errorf("%q: it wrote %q", env, text)
		}
	}
	status, _, stderr := weft(t, "docker-opts", "-f", "/no/such/subnet.env", "-d", filepath.Join(t.TempDir(), "to"))
	if status != failed || !strings.Contains(stderr, "/no/such/subnet.env does not exist: weft agent writes it") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

// The file is replaced at once, where it is and with the mode that it has.
func TestDockerOptsWritesAtOnce(t *testing.T) {
	dir := t.TempDir()
	from, file, link := filepath.Join(dir, "from"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	for path, text := range map[string]string{from: sampleEnv, file: "before"} {
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if status, _, stderr := weft(t, "docker-opts", "-f", from, "-d", link); status != done {
		t.Fatal(stderr)
	}
	if text, err := io.ReadAll(old); err != nil || string(text) != "before" {
		t.Errorf("whoever reads the file meanwhile gets %q, %v", text, err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info, err)
	}
	if text, _ := os.ReadFile(file); !strings.HasPrefix(string(text), "DOCKER_OPT_BIP=") {
		t.Errorf("the file holds %q", text)
	}
	if info, err = os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 3 {
		t.Errorf("it left %v", left)
	}
}

// What is no file, /dev/stdout say, is written to and not replaced.
func TestDockerOptsToAPipe(t *testing.T) {
	dir := t.TempDir()
	from, pipe := filepath.Join(dir, "from"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(from, []byte(sampleEnv), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(pipe, os.O_RDWR, 0) // so that the writer need not wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if status, _, stderr := weft(t, "docker-opts", "-f", from, "-c", "-d", pipe); status != done {
		t.Fatal(stderr)
	}
	want := "DOCKER_OPTS=\" --bip=10.1.74.1/24 --ip-masq=true --mtu=1472\"\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(end, got); err != nil || string(got) != want {
		t.Errorf("the pipe got %q, %v", got, err)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is now %v, %v", info, err)
	}
}

func TestDockerOptsClash(t *testing.T) {
	own := netip.MustParsePrefix("10.1.74.0/24")
	route := func(dst, via string) netlink.Route {
		_, n, err := net.ParseCIDR(dst)
		if err != nil {
			t.Fatal(err)
		}
		return netlink.Route{Dst: n, Gw: net.ParseIP(via)}
	}
	good := []netlink.Route{{}, route("10.1.74.0/24", ""), route("10.1.0.0/16", "10.4.7.1"), route("10.1.74.0/25", "10.4.7.1"), route("0.0.0.0/0", "10.4.7.1")}
	if err := clash(good, own); err != nil {
		t.Error(err)
	}
	err := clash(append(good, route("10.1.74.0/24", "10.4.7.9")), own)
	if err == nil || !strings.Contains(err.Error(), "routes its own subnet elsewhere: 10.1.74.0/24 via 10.4.7.9") {
		t.Errorf("error %v", err)
	}
}

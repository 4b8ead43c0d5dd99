package life

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// A node whose subnet has a route by way of a gateway is told so, as by
// flannel's script after it has written.
func TestDockerOptsWhereSubnetIsRoutedElsewhere(t *testing.T) {
	m := newMachine(t, "node")
	check(t, lab.Pair(m.Host, lab.TestHost(t, "peer")))
	dir := t.TempDir()
	from, to := filepath.Join(dir, "subnet.env"), filepath.Join(dir, "docker.env")
	check(t, os.WriteFile(from, []byte("FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.74.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n"), 0o644))
	line := "docker-opts -c -f " + from + " -d " + to
	m.must(line)
	check(t, m.AddRoute(netip.MustParsePrefix("10.1.74.0/24"), "eth0", lab.PairB4.Addr()))
	check(t, os.Remove(to))
	m.refuse(line, "routes its own subnet elsewhere: 10.1.74.0/24 via 10.211.55.12")
	text, err := os.ReadFile(to)
	check(t, err)
	if !strings.HasPrefix(string(text), `DOCKER_OPTS=" --bip=10.1.74.1/24 `) {
		t.Errorf("it wrote %q", text)
	}
	if _, err := os.Stat(string(m.dir)); !os.IsNotExist(err) {
		t.Errorf("the run directory was made: %v", err)
	}
}

package nodes

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/store"
)

// guarded is a network whose store lets in only who has a certificate.
type guarded struct {
	*outside
	ca            *etcdtest.Authority
	cert, key     string
	withoutClient []string // flags
	flags         []string
}

func newGuarded(t testing.TB, nodes int) *guarded {
	t.Helper()
	g := &guarded{ca: etcdtest.NewAuthority(t)}
	c := etcdtest.Config{ClientCAFile: g.ca.File}
	c.CertFile, c.KeyFile = g.ca.Issue("server", inAnHour(), outsideAddr.AsSlice())
	g.renew(inAnHour())
	g.outside = newOutside(t, nodes, c)
	g.http.Transport = tlsTransport(t, g.ca.File, g.cert, g.key)
	g.withoutClient = []string{"--datapath=user", "--etcd-cafile=" + g.ca.File}
	g.flags = []string{"--etcd-cafile=" + g.ca.File, "--etcd-certfile=" + g.cert, "--etcd-keyfile=" + g.key}
	return g
}

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// renew puts another client certificate in the place of the one there is.
func (g *guarded) renew(until time.Time) { g.cert, g.key = g.ca.Issue("client", until) }

// A client certificate that has run out is told of with its date when a node
// has to connect again, and no packet depends on it. An agent that has none, or
// the wrong authority, says what it needs. What is put right is taken.
func TestCertificates(t *testing.T) {
	t.Parallel() // it mostly waits
	g := newGuarded(t, 4)
	g.begin(2, overVXLAN, g.flags...)
	running, none, wrong := g.nodes[:2], g.nodes[2], g.nodes[3]
	pings := g.keepPinging()
	g.renew(time.Now().Add(-time.Minute))
	g.server.Cut()
	check(t, g.server.Mend())
	none.start(g.withoutClient...)
	authority := filepath.Join(wrong.Dir, "ca.pem")
	copyFile(t, etcdtest.NewAuthority(t).File, authority)
	wrong.start(append(g.flags, "--etcd-cafile="+authority)...)

	for _, n := range running {
		n.probes(http.StatusServiceUnavailable, "it refuses the client certificate "+g.cert+", which expired on ")
		n.saidOnce("a new one in its place is taken without a restart")
	}
	none.probes(http.StatusServiceUnavailable, "it wants a client certificate: give --etcd-certfile and --etcd-keyfile")
	none.saidOnce("it wants a client certificate")
	if out := none.signal(syscall.SIGTERM); out.Status != 0 {
		t.Error(out)
	}
	signed := "its certificate is signed by nobody in --etcd-cafile " + authority
	wrong.probes(http.StatusServiceUnavailable, signed)
	wrong.saidOnce(signed, "the authority of etcd's own certificates belongs there")
	pings.another()

	g.renew(inAnHour())
	copyFile(t, g.ca.File, authority)
	for _, n := range running {
		n.probes(http.StatusOK, "flanneld is ready")
		n.saidOnce(isBack)
	}
	wrong.ready().saidOnce(signed)
	pings.another()
	check(t, pings.end())
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	check(t, err)
	check(t, os.WriteFile(to, text, 0o600))
}

// tlsTransport enters a store that wants certificates.
func tlsTransport(t testing.TB, ca, cert, key string) *http.Transport {
	t.Helper()
	cfg, err := store.Options{Endpoints: []string{"https://"}, CAFile: ca}.TLS()
	check(t, err)
	pair, err := tls.LoadX509KeyPair(cert, key) // as it is now
	check(t, err)
	cfg.Certificates = []tls.Certificate{pair}
	return &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
}

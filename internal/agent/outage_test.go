package agent

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/flannel/store"
)

// While the store is away the node is not ready and says so once; what it knows
// of the peers stays.
func TestStoreAway(t *testing.T) {
	server := etcdtest.Test(t, etcdtest.Config{})
	n := networkAt(t, server.Direct(), "/away")
	n.put("config", vxlanNet)
	n.put("subnets/10.0.9.0-24", `{"PublicIP":"192.0.2.9"}`)
	n.endpoint = server.Endpoint
	r := run(t, options(t, n, "192.0.2.1")).ready()
	for i := range 2 {
		server.Cut()
		r.readyz(http.StatusServiceUnavailable, "flanneld is not ready yet\nforwarding goes on with the peers that are known, without etcd: etcd does not answer: "+server.Endpoint)
		check(t, server.Mend())
		r.ready()
		if away, back := r.said("forwarding goes on"), r.said("etcd answers again"); away != i+1 || back != i+1 {
			t.Errorf("after %d outages: said away %d times, back %d times", i+1, away, back)
		}
	}
	r.peers("10.0.9.0-24 192.0.2.9")
	if calls := r.backend.noted(); len(calls) != 4 {
		t.Error("an outage moved the backend:", calls)
	}
}

// A store that comes back without its data gets this node's lease again.
func TestStoreComesBackEmpty(t *testing.T) {
	server := etcdtest.Test(t, etcdtest.Config{})
	n := networkAt(t, server.Endpoint, "/empty")
	n.put("config", vxlanNet)
	r := run(t, options(t, n, "192.0.2.1")).ready()
	name := n.leases()[0].Name
	server.Stop()
	r.readyz(http.StatusServiceUnavailable, "etcd does not answer")
	check(t, server.Forget())
	check(t, server.Run())
	r.says("the lease was gone and is there again")
	r.ready()
	if again := n.leases(); len(again) != 1 || again[0].Name != name {
		t.Error(name, again)
	}
	r.says("there is no config at /empty/config") // and the node goes on without
}

// An agent that starts while the store is away waits for it.
func TestStoreAwayAtStart(t *testing.T) {
	server := etcdtest.Test(t, etcdtest.Config{})
	n := networkAt(t, server.Direct(), "/start")
	n.put("config", vxlanNet)
	n.endpoint = server.Endpoint
	server.Cut()
	r := run(t, options(t, n, "192.0.2.1"))
	r.readyz(http.StatusServiceUnavailable, "etcd does not answer: "+server.Endpoint)
	check(t, server.Mend())
	r.ready()
	if got := r.said("waiting for the network config"); got != 1 {
		t.Error("said", got, "times")
	}
}

// Of several endpoints one that answers is enough, whichever it is.
func TestFailover(t *testing.T) {
	first, second := etcdtest.Test(t, etcdtest.Config{}), etcdtest.Test(t, etcdtest.Config{})
	n := networkAt(t, second.Direct(), "/failover")
	n.put("config", vxlanNet)
	o := options(t, n, "192.0.2.1")
	first.Stop()
	o.Registry.Endpoints = []string{first.Endpoint, "http://127.0.0.1:1", second.Endpoint}
	r := run(t, o).ready()
	n.put("subnets/10.0.9.0-24", `{"PublicIP":"192.0.2.9"}`)
	r.peers("10.0.9.0-24 192.0.2.9")
}

// What is wrong with a client's certificate is said with the flag or the file,
// and a new certificate in its place is taken without a restart.
func TestCertificates(t *testing.T) {
	ca := etcdtest.NewAuthority(t)
	serverCert, serverKey := ca.Issue("server", time.Now().Add(time.Hour))
	server := etcdtest.Test(t, etcdtest.Config{CertFile: serverCert, KeyFile: serverKey, ClientCAFile: ca.File})
	goodCert, goodKey := ca.Issue("client", time.Now().Add(time.Hour))
	admin, err := registry.OpenStore(3, store.Options{Endpoints: []string{server.Endpoint}, CAFile: ca.File, CertFile: goodCert, KeyFile: goodKey})
	check(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	n := &network{t: t, prefix: "/tls", endpoint: server.Endpoint, store: admin}
	n.put("config", vxlanNet)

	o := options(t, n, "192.0.2.1")
	o.Registry.CAFile = ca.File
	r := run(t, o)
	r.readyz(http.StatusServiceUnavailable, "it wants a client certificate: give --etcd-certfile and --etcd-keyfile")
	r.stop()

	o.Registry.CertFile, o.Registry.KeyFile = ca.Issue("old", time.Now().Add(-time.Hour))
	r = run(t, o)
	r.readyz(http.StatusServiceUnavailable, "it refuses the client certificate "+o.Registry.CertFile+", which expired on")
	check(t, os.Rename(goodCert, o.Registry.CertFile))
	check(t, os.Rename(goodKey, o.Registry.KeyFile))
	r.ready()

	o.Registry.CAFile = o.Registry.CertFile // of another authority
	o.SubnetFile += ".other"
	o.Health = options(t, n, "192.0.2.1").Health
	run(t, o).readyz(http.StatusServiceUnavailable, "its certificate is signed by nobody in --etcd-cafile")
}

package store_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv2 "go.etcd.io/etcd/client/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/store"
)

func removeAll(t *testing.T, endpoint, dir string) {
	t.Helper()
	c, err := clientv2.New(clientv2.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clientv2.NewKeysAPI(c).Delete(within(t), dir, &clientv2.DeleteOptions{Recursive: true}); err != nil {
		t.Fatal(err)
	}
}

func TestCertificates(t *testing.T) {
	ca, other := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-time.Hour)
	cfg := etcdtest.Config{ClientCAFile: ca.File}
	cfg.CertFile, cfg.KeyFile = ca.Issue("server", tomorrow)
	server := etcdtest.Test(t, cfg)
	plain := etcdtest.Test(t, etcdtest.Config{})

	base := store.Options{Endpoints: []string{server.Endpoint}, CAFile: ca.File, Timeout: time.Second}
	good := base
	good.CertFile, good.KeyFile = ca.Issue("client", tomorrow)
	expired := base
	expired.CertFile, expired.KeyFile = ca.Issue("expired", yesterday)
	foreign := base
	foreign.CertFile, foreign.KeyFile = other.Issue("foreign", tomorrow)
	unknown := good
	unknown.CAFile = other.File
	system := good
	system.CAFile = ""
	http := good
	http.Endpoints = []string{strings.Replace(server.Endpoint, "https", "http", 1)}
	https := good
	https.Endpoints = []string{strings.Replace(plain.Endpoint, "http", "https", 1)}

	each(t, func(t *testing.T, open open) {
		if _, err := opened(t, open, good).Read(within(t), "/a"); err != nil {
			t.Error(err)
		}
		for name, c := range map[string]struct {
			store.Options
			want string
		}{
			"none":    {base, "it wants a client certificate: give --etcd-certfile and --etcd-keyfile"},
			"expired": {expired, "refuses the client certificate " + expired.CertFile + ", which expired on " + yesterday.UTC().Format("2006-01-02 15:04")},
			"foreign": {foreign, "it refuses the client certificate " + foreign.CertFile},
			"unknown": {unknown, "its certificate is signed by nobody in --etcd-cafile " + other.File},
			"system":  {system, "--etcd-cafile names another"},
			"http":    {http, "it ends the connection, as one does that wants https, not http"},
			"https":   {https, "it ends the connection, as one does that speaks http, not https"},
		} {
			c.Timeout = 200 * time.Millisecond // none of them is answered however long it waits
			_, err := opened(t, open, c.Options).Read(within(t), "/a")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.Endpoints[0]) {
				t.Errorf("%s: %v\nwant %s", name, err, c.want)
			}
		}
	})
}

// A new certificate in the place of the old one is taken without a restart.
func TestCertificateRenewed(t *testing.T) {
	ca := etcdtest.NewAuthority(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	cfg := etcdtest.Config{ClientCAFile: ca.File}
	cfg.CertFile, cfg.KeyFile = ca.Issue("server", tomorrow)
	server := etcdtest.Test(t, cfg)
	each(t, func(t *testing.T, open open) {
		o := store.Options{Endpoints: []string{server.Endpoint}, CAFile: ca.File, Timeout: time.Second}
		o.CertFile, o.KeyFile = ca.Issue("client", time.Now().Add(-time.Hour))
		s := opened(t, open, o)
		if _, err := s.Read(within(t), "/a"); err == nil {
			t.Fatal("an expired certificate is taken")
		}
		ca.Issue("client", tomorrow)
		retry(t, func() error { _, err := s.Read(within(t), "/a"); return err })
	})
}

// So is a file of other authorities.
func TestAuthorityReplaced(t *testing.T) {
	ca, other := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
	cfg := etcdtest.Config{}
	cfg.CertFile, cfg.KeyFile = ca.Issue("server", time.Now().Add(time.Hour))
	server := etcdtest.Test(t, cfg)
	each(t, func(t *testing.T, open open) {
		o := store.Options{Endpoints: []string{server.Endpoint}, CAFile: filepath.Join(t.TempDir(), "ca.pem"), Timeout: time.Second}
		copyFile(t, other.File, o.CAFile)
		s := opened(t, open, o)
		if _, err := s.Read(within(t), "/a"); !store.Certificate(err) {
			t.Fatal(err)
		}
		copyFile(t, ca.File, o.CAFile)
		retry(t, func() error { _, err := s.Read(within(t), "/a"); return err })
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// With a user name but without etcd, opening does not fail, and what fails
// works later.
func TestUser(t *testing.T) {
	server := etcdtest.Test(t, etcdtest.Config{})
	withUsers(t, server.Endpoint)
	open := versions["v3"]
	as := func(name, password string) store.Store {
		return opened(t, open, store.Options{Endpoints: []string{server.Endpoint}, Username: name, Password: password, Timeout: time.Second})
	}
	s := as("flannel", "secret")
	ctx := within(t)
	p, err := s.Create(ctx, "/n/subnets/a", []byte("x"), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if snap, err := s.Read(ctx, "/n/subnets/"); err != nil || len(snap.Pairs) != 1 {
		t.Error(snap, err)
	}
	if left, err := s.TTL(ctx, p); err != nil || left == 0 {
		t.Error(left, err)
	}
	w := watch(ctx, s, "/n/subnets/", p.Revision)
	if err := s.Delete(ctx, p.Key, p.Revision); err != nil {
		t.Error(err)
	}
	if c := w.next(t); !c.Deleted {
		t.Error(c)
	}
	for _, c := range []struct{ name, password, path, want string }{
		{"flannel", "wrong", "/n/a", `refuses the name or the password of --etcd-username "flannel"`},
		{"nobody", "x", "/n/a", `refuses the name or the password of --etcd-username "nobody"`},
		{"", "", "/n/a", "etcd wants a user: give --etcd-username and --etcd-password"},
		{"flannel", "secret", "/other", `etcd does not allow this to --etcd-username "flannel"`},
	} {
		if _, err := as(c.name, c.password).Read(ctx, c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := s.Watch(ctx, "/other", 0, func([]store.Change, int64) {}); err == nil || !strings.Contains(err.Error(), "does not allow") {
		t.Error(err)
	}
	server.Stop()
	late := as("flannel", "secret")
	if _, err := late.Read(ctx, "/n/a"); !saysRefused(err, server) {
		t.Error(err)
	}
	if err := server.Run(); err != nil {
		t.Fatal(err)
	}
	retry(t, func() error { _, err := late.Read(ctx, "/n/a"); return err })
}

// withUsers makes root, and flannel who may use what is below /n/.
func withUsers(t *testing.T, endpoint string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := within(t)
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.RoleAdd(ctx, "network"); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, "network", "/n/", clientv3.GetPrefixRangeEnd("/n/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := c.UserAdd(ctx, "flannel", "secret"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "flannel", "network"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUserV2(t *testing.T) {
	server := etcdtest.Test(t, etcdtest.Config{})
	withRootOnly(t, server.Endpoint)
	as := func(name, password string) store.Store {
		return opened(t, versions["v2"], store.Options{Endpoints: []string{server.Endpoint}, Username: name, Password: password})
	}
	if _, err := as("root", "secret").Create(within(t), "/n/a", []byte("x"), 0); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ name, password, want string }{
		{"", "", "etcd wants a user: give --etcd-username and --etcd-password"},
		{"root", "wrong", `etcd does not allow this to --etcd-username "root"`},
	} {
		if _, err := as(c.name, c.password).Read(within(t), "/n/a"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// withRootOnly lets nobody but root in over v2.
func withRootOnly(t *testing.T, endpoint string) {
	t.Helper()
	ctx := within(t)
	client := func(name string) clientv2.Client {
		c, err := clientv2.New(clientv2.Config{Endpoints: []string{endpoint}, Username: name, Password: "secret"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	open, root := client(""), client("root")
	all := []string{"/*"}
	err := clientv2.NewAuthUserAPI(open).AddUser(ctx, "root", "secret")
	if err == nil {
		err = clientv2.NewAuthAPI(open).Enable(ctx)
	}
	if err == nil {
		_, err = clientv2.NewAuthRoleAPI(root).RevokeRoleKV(ctx, "guest", all, clientv2.ReadWritePermission)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestServerWithoutV2(t *testing.T) {
	server := etcdtest.Test(t, etcdtest.Config{WithoutV2: true})
	s := opened(t, versions["v2"], store.Options{Endpoints: []string{server.Endpoint}})
	const want = "start it with --enable-v2 (3.4 and 3.5; later ones cannot), or use --etcd-api=3"
	if _, err := s.Read(context.Background(), "/a"); err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}

func TestOptionsRefused(t *testing.T) {
	ca := etcdtest.NewAuthority(t)
	cert, key := ca.Issue("client", time.Now().Add(time.Hour))
	junk := t.TempDir() + "/junk"
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	https := []string{"https://127.0.0.1:1"}
	each(t, func(t *testing.T, open open) {
		for want, o := range map[string]store.Options{
			"no endpoint is given":                                    {},
			`"127.0.0.1:2379": wanted is a URL such as http://`:       {Endpoints: []string{"127.0.0.1:2379"}},
			`"": wanted is a URL`:                                     {Endpoints: []string{""}},
			`"tcp://h:1": wanted is a URL`:                            {Endpoints: []string{"tcp://h:1"}},
			"either all endpoints are https or none is":               {Endpoints: []string{"http://a:1", "https://b:1"}},
			"--etcd-certfile and --etcd-keyfile belong together":      {Endpoints: https, CertFile: cert},
			"--etcd-cafile: open " + junk + "2":                       {Endpoints: https, CAFile: junk + "2"},
			"--etcd-cafile: " + junk + " holds no certificate":        {Endpoints: https, CAFile: junk},
			"--etcd-certfile " + junk + " with --etcd-keyfile " + key: {Endpoints: https, CertFile: junk, KeyFile: key},
		} {
			if s, err := open(o); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v %v, want %s", o, s, err, want)
			}
		}
		// flannel's own tests give certificates with http, which then count for nothing.
		if _, err := open(store.Options{Endpoints: []string{"http://a:1"}, CAFile: junk}); err != nil {
			t.Error(err)
		}
	})
}

package registry

import (
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/store"
)

// A certificate that comes into the way while the store is away is heard of,
// once, and what the store says until it is replaced is no news.
func TestFollowToRefusal(t *testing.T) {
	ca := etcdtest.NewAuthority(t)
	later, c := time.Now().Add(time.Hour), etcdtest.Config{ClientCAFile: ca.File}
	c.CertFile, c.KeyFile = ca.Issue("server", later)
	for name, api := range map[string]int{"v3": 3, "v2": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			s := etcdtest.Test(t, c)
			cert, key := ca.Issue(name, later)
			r, err := Open(Options{Prefix: "/n", API: api, Options: store.Options{
				Endpoints: []string{s.Endpoint}, CAFile: ca.File, CertFile: cert, KeyFile: key, Timeout: time.Second,
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			f, config := follow(t, r, 0), followConfig(t, r)
			f.hears(t, "nothing")
			config(t).says(t, "there is no config")
			ca.Issue(name, time.Now().Add(-time.Hour))
			s.Cut()
			f.hears(t, "away")
			config(t).says(t, "etcd does not answer: ")
			if err := s.Mend(); err != nil {
				t.Fatal(err)
			}
			f.hears(t, "away")
			config(t).says(t, "refuses the client certificate")
			ca.Issue(name, later)
			f.hears(t, "back")
			config(t).says(t, "there is no config")
		})
	}
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/netconf"
)

// heard is one call of FollowConfig's take.
type heard struct {
	cfg *netconf.Config
	err error
}

func followConfig(t *testing.T, r *Registry) func(*testing.T) heard {
	t.Helper()
	calls := make(chan heard, 100)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- r.FollowConfig(ctx, func(c *netconf.Config, err error) { calls <- heard{c, err} })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return func(t *testing.T) heard {
		t.Helper()
		select {
		case h := <-calls:
			return h
		case <-time.After(soon):
			t.Fatal("nothing heard")
		}
		return heard{}
	}
}

func (h heard) says(t *testing.T, want string) {
	t.Helper()
	if h.err == nil || !strings.Contains(h.err.Error(), want) {
		t.Fatalf("%+v %v, want %s", h.cfg, h.err, want)
	}
}

func (h heard) is(t *testing.T, backend string) {
	t.Helper()
	if h.err != nil || h.cfg.Backend.Type() != backend {
		t.Fatalf("%+v %v, want %s", h.cfg, h.err, backend)
	}
}

// A config that is missing, then malformed as the tutorial's quotes make it,
// then repaired, then another: each is heard of once, without a restart.
func TestFollowConfig(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		next := followConfig(t, r)
		next(t).says(t, "there is no config at "+r.config)
		put(t, r, r.config, `‘{Network:`)
		next(t).says(t, "the config at "+r.config+" cannot be used: not JSON at byte 1")
		put(t, r, r.config, `‘{Network:`)
		put(t, r, r.config, `{"Network":"172.7.0.0/16","Backend":{"Type":"VxLAN"}}`)
		next(t).is(t, "vxlan")
		put(t, r, r.config, `{"Network":"172.7.0.0/16","Backend":{"Type":"VxLAN"}}`)
		put(t, r, r.config, `{"Network":"172.7.0.0/16","Backend":{"Type":"host-gw"}}`)
		next(t).is(t, "host-gw")
		if err := r.store.Delete(within(t), r.config, configRevision(t, r)); err != nil {
			t.Fatal(err)
		}
		next(t).says(t, "there is no config")
	})
}

func configRevision(t *testing.T, r *Registry) int64 {
	t.Helper()
	read, err := r.store.Read(within(t), r.config)
	if err != nil || len(read.Pairs) != 1 {
		t.Fatal(read, err)
	}
	return read.Pairs[0].Revision
}

func TestAwaitConfig(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		reported := make(chan error, 10)
		got := make(chan heard, 1)
		go func() {
			cfg, err := r.AwaitConfig(within(t), func(err error) { reported <- err })
			got <- heard{cfg, err}
		}()
		heard{err: <-reported}.says(t, "there is no config")
		put(t, r, r.config, `{ "Network": "10.0.0.0/16" }`)
		(<-got).is(t, "udp")
	})
}

func TestAwaitConfigEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		ctx, stop := context.WithCancel(within(t))
		cfg, err := r.AwaitConfig(ctx, func(error) { stop() })
		if cfg != nil || !errors.Is(err, context.Canceled) {
			t.Error(cfg, err)
		}
	})
}

// A config under the other version of the interface is not read, but named.
func TestConfigUnderOtherAPI(t *testing.T) {
	for mine, other := range map[int]int{2: 3, 3: 2} {
		server, prefix := shared.Prefix(t)
		put(t, opened(t, server.Endpoint, prefix, other), prefix+"/config", "{}")
		followConfig(t, opened(t, server.Endpoint, prefix, mine))(t).says(t, map[int]string{
			3: "in the v3 API of etcd, but there is one in the v2 API, which --etcd-api=2 reads",
			2: "in the v2 API of etcd, but there is one in the v3 API, which --etcd-api=3 reads",
		}[mine])
	}
}

// A config may also be written there while an agent waits for it, and here then.
func TestConfigComesUnderOtherAPI(t *testing.T) {
	for mine, other := range map[int]int{2: 3, 3: 2} {
		server, prefix := shared.Prefix(t)
		r := opened(t, server.Endpoint, prefix, mine)
		r.other.again = 100 * time.Millisecond
		next := followConfig(t, r)
		next(t).says(t, "there is no config at "+prefix+"/config; write one there")
		put(t, opened(t, server.Endpoint, prefix, other), prefix+"/config", "{}")
		next(t).says(t, fmt.Sprintf("but there is one in the v%d API", other))
		put(t, r, r.config, `{"Network":"10.0.0.0/16"}`)
		next(t).is(t, "udp")
	}
}

// While etcd is away, that is heard once, and the config when it is back.
func TestConfigWhileEtcdIsAway(t *testing.T) {
	for name, api := range map[string]int{"v3": 3, "v2": 2} {
		t.Run(name, func(t *testing.T) {
			server := etcdtest.Test(t, etcdtest.Config{})
			r := opened(t, server.Endpoint, DefaultPrefix, api)
			put(t, r, r.config, `{"Network":"10.0.0.0/16"}`)
			next := followConfig(t, r)
			next(t).is(t, "udp")
			server.Cut()
			next(t).says(t, "etcd does not answer: "+server.Endpoint)
			put(t, opened(t, server.Direct(), DefaultPrefix, api), r.config, `{"Network":"10.0.0.0/16","Backend":{"Type":"alloc"}}`)
			if err := server.Mend(); err != nil {
				t.Fatal(err)
			}
			next(t).is(t, "alloc")
		})
	}
}

package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannelnode"
	"github.com/weftnet/weft/internal/lab"
)

// outside is a network whose store is beside the nodes, at 10.4.7.11 on two
// ports, and taken away and damaged as the test likes. The test itself enters
// it by another way.
type outside struct {
	*overlay
	server *etcdtest.Server
	ways   [2]*etcdtest.Way // by which the nodes enter it
}

var outsideAddr = netip.MustParseAddr("10.4.7.11")

func newOutside(t testing.TB, nodes int, c etcdtest.Config) *outside {
	t.Helper()
	o := &outside{overlay: &overlay{network: &network{t: t, wire: newSwitch(t)}}, server: etcdtest.Test(t, c)}
	place := lab.TestHost(t, "store")
	check(t, o.wire.Plug(lab.Port{Host: place, Addrs: []netip.Prefix{netip.PrefixFrom(outsideAddr, 24)}}))
	t.Cleanup(o.server.Cut) // before its host goes
	o.store, o.http = o.server.Direct(), &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}
	o.post = func(path string, body []byte) ([]byte, error) { return flannelnode.Post(o.http, o.store, path, body) }
	var urls []string
	for i := range o.ways {
		at := netip.AddrPortFrom(outsideAddr, uint16(2379+i)).String()
		var err error
		o.ways[i], err = o.server.Open(at, func(addr string) (l net.Listener, err error) {
			err = place.Do(func() (err error) { l, err = net.Listen("tcp", addr); return err })
			return l, err
		})
		check(t, err)
		scheme, _, _ := strings.Cut(o.store, ":")
		urls = append(urls, scheme+"://"+at)
	}
	o.elsewhere = strings.Join(urls, ",")
	o.addNodes(nodes)
	return o
}

// configure writes the config.
func (o *outside) configure(text string) {
	o.t.Helper()
	o.put("config", text, 0)
}

// begin has the first nodes ready, and pings pass between two.
func (o *outside) begin(nodes int, config string, more ...string) *outside {
	o.t.Helper()
	o.configure(config)
	for _, n := range o.nodes[:nodes] {
		n.start(append([]string{"--datapath=user"}, more...)...)
	}
	for _, n := range o.nodes[:nodes] {
		n.ready()
	}
	for i, n := range o.nodes[:2] {
		o.containers[i], o.addrs[i] = n.container()
	}
	eventually(o.t, func() error { return o.containers[0].Ping(o.addrs[1], lab.PingOptions{}).Lost() })
	return o
}

// keyValue is what the JSON gateway takes and returns.
type keyValue struct {
	Key         []byte `json:"key"`
	Value       []byte `json:"value,omitempty"`
	Lease       string `json:"lease,omitempty"`
	ModRevision string `json:"mod_revision,omitempty"`
}

// put writes a key, for so many seconds, 0 for ever.
func (o *outside) put(name, value string, seconds int) {
	o.t.Helper()
	kv := keyValue{Key: []byte(prefix + name), Value: []byte(value)}
	if seconds > 0 {
		kv.Lease = o.grant(seconds)
	}
	o.ask("kv/put", kv, nil)
}

// grant makes a lease of etcd's.
func (w *network) grant(seconds int) string {
	w.t.Helper()
	var granted struct{ ID string }
	w.ask("lease/grant", map[string]int{"TTL": seconds}, &granted)
	return granted.ID
}

func (o *outside) del(name string) {
	o.t.Helper()
	o.ask("kv/deleterange", keyValue{Key: []byte(prefix + name)}, nil)
}

// get reads a key with its revision, and how many changes the store has seen.
func (o *outside) get(name string) (value, revision, now string) {
	o.t.Helper()
	var answer struct {
		Header struct{ Revision string }
		KVs    []keyValue
	}
	o.ask("kv/range", keyValue{Key: []byte(prefix + name)}, &answer)
	if len(answer.KVs) == 0 {
		return "", "", answer.Header.Revision
	}
	return string(answer.KVs[0].Value), answer.KVs[0].ModRevision, answer.Header.Revision
}

// compact has the store forget what was changed until now.
func (o *outside) compact() {
	o.t.Helper()
	_, _, now := o.get("config")
	o.ask("kv/compaction", map[string]string{"revision": now}, nil)
}

func (w *network) ask(path string, body, answer any) {
	w.t.Helper()
	text, err := json.Marshal(body)
	check(w.t, err)
	text, err = w.post(path, text)
	check(w.t, err)
	if answer != nil {
		check(w.t, json.Unmarshal(text, answer))
	}
}

// says waits until the agent's log does.
func (n *node) says(text string) {
	n.t.Helper()
	eventually(n.t, func() error {
		if log := n.Agent.Stderr(); !strings.Contains(log, text) {
			return errors.New(n.Name + " does not say " + text + ":\n" + log)
		}
		return nil
	})
}

// saidOnce wants each of some texts in one line of the agent's log.
func (n *node) saidOnce(texts ...string) {
	n.t.Helper()
	for _, text := range texts {
		if said := n.said(text); said != 1 {
			n.t.Errorf("%s says %d times %q:\n%s", n.Name, said, text, n.Agent.Stderr())
		}
	}
}

// said counts the lines of the agent's log that say something.
func (n *node) said(text string) (lines int) {
	for line := range strings.Lines(n.Agent.Stderr()) {
		if strings.Contains(line, text) {
			lines++
		}
	}
	return lines
}

// probes waits for what /readyz answers, status and text, while /healthz
// answers that the agent runs.
func (n *node) probes(status int, text string) {
	n.t.Helper()
	eventually(n.t, func() error {
		if got, body := n.Probe("/readyz"); got != status || !strings.Contains(body, text) {
			return fmt.Errorf("%s: /readyz %d %q, want %d %q:\n%s", n.Name, got, body, status, text, n.Agent.Stderr())
		}
		return nil
	})
	if got, body := n.Probe("/healthz"); got != http.StatusOK || body != "flanneld is running" {
		n.t.Errorf("%s: /healthz %d %q", n.Name, got, body)
	}
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/iface"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/netfilter"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/flannel/store"
	"github.com/weftnet/weft/internal/lab"
)

// soon is long enough for anything that is not stuck.
const soon = 20 * time.Second

var shared etcdtest.Shared

func TestMain(m *testing.M) { lab.Main(withStore{m}) }

// withStore ends the shared server before lab ends the process.
type withStore struct{ *testing.M }

func (w withStore) Run() int {
	defer shared.Close()
	return w.M.Run()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, cond func() error) {
	t.Helper()
	check(t, lab.Eventually(soon, cond))
}

// network is one network in a server, as an administrator sees it.
type network struct {
	t        *testing.T
	prefix   string
	endpoint string
	store    store.Store
	registry *registry.Registry
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	server, prefix := shared.Prefix(t)
	return networkAt(t, server.Direct(), prefix)
}

func networkAt(t *testing.T, endpoint, prefix string) *network {
	t.Helper()
	s, err := registry.OpenStore(3, store.Options{Endpoints: []string{endpoint}})
	check(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return &network{t, prefix, endpoint, s, registry.New(s, prefix)}
}

// put sets a key of the network, which must not be there yet or is replaced.
func (n *network) put(name, value string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	key := n.prefix + "/" + name
	old, err := n.store.Read(ctx, key)
	check(n.t, err)
	if len(old.Pairs) == 1 {
		_, err = n.store.Replace(ctx, key, []byte(value), 0, old.Pairs[0].Revision)
	} else {
		_, err = n.store.Create(ctx, key, []byte(value), 0)
	}
	check(n.t, err)
}

func (n *network) del(name string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	old, err := n.store.Read(ctx, n.prefix+"/"+name)
	check(n.t, err)
	if len(old.Pairs) == 1 {
		check(n.t, n.store.Delete(ctx, n.prefix+"/"+name, old.Pairs[0].Revision))
	}
}

func (n *network) leases() []lease.Lease {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	snap, err := n.registry.Leases(ctx)
	check(n.t, err)
	return snap.Leases
}

// recorder is a backend that notes what it is told.
type recorder struct {
	place backend.Node
	kind  string
	fails string // the call that does not succeed

	mu    sync.Mutex
	calls []string
	peers map[string]string // name and PublicIP
}

func (r *recorder) note(format string, args ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	call := fmt.Sprintf(format, args...)
	r.calls = append(r.calls, call)
	if call == r.fails {
		return errRefused
	}
	return nil
}

var errRefused = errors.New("refused")

func (r *recorder) noted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func (r *recorder) table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for name, ip := range r.peers {
		all = append(all, name+" "+ip)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (r *recorder) Prepare(context.Context) (lease.Record, error) {
	return lease.Record{PublicIP: r.place.Public, BackendType: r.kind}, r.note("prepare %s", r.kind)
}

func (r *recorder) Start(_ context.Context, own lease.Lease) (int, error) {
	return 1450, r.note("start %s", own.Name)
}

func (r *recorder) Run(ctx context.Context) error {
	_ = r.note("run")
	<-ctx.Done()
	return ctx.Err()
}

func (r *recorder) Reset(_ context.Context, peers []lease.Lease) error {
	_ = r.note("reset %d", len(peers))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers = map[string]string{}
	for _, p := range peers {
		r.peers[p.Name] = p.PublicIP.String()
	}
	return nil
}

func (r *recorder) Apply(_ context.Context, events []registry.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		switch e.Kind {
		case registry.Removed:
			delete(r.peers, e.Lease.Name)
		default:
			r.peers[e.Lease.Name] = e.Lease.PublicIP.String()
		}
	}
	return nil
}

func (r *recorder) Cleanup(context.Context) error { return r.note("cleanup %s", r.kind) }

// noFilter is a packet filter of a host that has none, or fails as told.
type noFilter struct{ err atomic.Pointer[error] }

func (f *noFilter) fail() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *noFilter) Apply(context.Context, netfilter.Rules) error { return f.fail() }
func (f *noFilter) Resync(context.Context) error                 { return f.fail() }
func (f *noFilter) Remove(context.Context) error                 { return f.fail() }

// running is an agent in this process.
type running struct {
	t       *testing.T
	o       Options
	backend *recorder // the last one made
	made    []*recorder
	log     *observer.ObservedLogs
	end     context.CancelFunc
	ended   chan error
}

// options are those of a node with the given address, which lo stands for the
// interface of.
func options(t *testing.T, n *network, public string) Options {
	t.Helper()
	dir, err := os.MkdirTemp(lab.RunDir(), "agent")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return Options{
		Registry:    registry.Options{Options: store.Options{Endpoints: []string{n.endpoint}, Timeout: 2 * time.Second}, Prefix: n.prefix},
		Interface:   iface.Choice{Ifaces: []string{"lo"}, Public: netip.MustParseAddr(public)},
		SubnetFile:  filepath.Join(dir, "flannel", "subnet.env"),
		RenewMargin: time.Hour,
		Resync:      time.Second,
		RunDir:      control.RunDir(filepath.Join(dir, "weft")),
		Health:      netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(t)),
	}
}

// freePort returns a port that nobody has and nobody is given again. Those from
// which the kernel takes source ports are left out: one that is free now may be
// a connection's a moment later.
func freePort(t *testing.T) uint16 {
	t.Helper()
	for {
		port := nextPort.Add(1)
		if port >= 32768 {
			t.Fatal("no port is left")
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return uint16(port)
		}
	}
}

var nextPort atomic.Uint32

func init() { nextPort.Store(20000) }

func run(t *testing.T, o Options) *running { t.Helper(); return runFailing(t, o, "") }

// runFailing runs an agent whose backends fail when they are called so.
func runFailing(t *testing.T, o Options, call string) *running {
	t.Helper()
	r := &running{t: t, ended: make(chan error, 1)}
	core, log := observer.New(zapcore.InfoLevel)
	o.Log, r.log = zap.New(core), log
	var mu sync.Mutex
	o.backends = func(place backend.Node, cfg *netconf.Config) (backend.Backend, error) {
		mu.Lock()
		defer mu.Unlock()
		r.backend = &recorder{place: place, kind: cfg.Backend.Type(), fails: call}
		r.made = append(r.made, r.backend)
		return r.backend, nil
	}
	if o.filter == nil {
		o.filter = &noFilter{}
	}
	r.o = o
	ctx, end := context.WithCancel(context.Background())
	r.end = end
	go func() { r.ended <- Run(ctx, o) }()
	t.Cleanup(r.stop)
	return r
}

// stop ends the agent, which has to end without an error.
func (r *running) stop() {
	r.t.Helper()
	if r.ended == nil {
		return
	}
	r.end()
	if err := r.wait(); err != nil {
		r.t.Error(err)
	}
}

// wait returns why the agent ended.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended = nil
		return err
	case <-time.After(soon):
		r.t.Fatal("the agent does not end")
		return nil
	}
}

// ready waits until /readyz says so.
func (r *running) ready() *running {
	r.t.Helper()
	r.readyz(http.StatusOK, "flanneld is ready")
	return r
}

func (r *running) readyz(status int, text string) {
	r.t.Helper()
	eventually(r.t, func() error {
		got, body, err := get(r.o.Health, "/readyz")
		if err != nil {
			return err
		}
		if got != status || !strings.Contains(body, text) {
			return fmt.Errorf("/readyz: %d %s, want %d %s", got, body, status, text)
		}
		return nil
	})
}

func get(at netip.AddrPort, path string) (int, string, error) {
	client := http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + at.String() + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// said returns how many lines of the log say something.
func (r *running) said(text string) (n int) {
	for _, e := range r.log.All() {
		line := e.Message
		for _, f := range e.Context {
			line += " " + f.String
			if err, ok := f.Interface.(error); ok {
				line += err.Error()
			}
		}
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (r *running) says(text string) {
	r.t.Helper()
	eventually(r.t, func() error {
		if r.said(text) == 0 {
			return errors.New("the log does not say " + text)
		}
		return nil
	})
}

func (r *running) peers(want string) {
	r.t.Helper()
	eventually(r.t, func() error {
		if got := r.backend.table(); got != want {
			return fmt.Errorf("peers %q, want %q", got, want)
		}
		return nil
	})
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func withLog(o Options) Options {
	o.Log, o.filter = zap.NewNop(), &noFilter{}
	return o
}

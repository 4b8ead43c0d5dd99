// Package etcdtest runs etcd in the process of a test. Nothing but tests may
// import it, since it brings the server with it.
package etcdtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Server is an etcd of one member that serves both versions of its interface.
type Server struct {
	Endpoint string

	cfg  *embed.Config
	etcd *embed.Etcd
	ways []*Way // that of Endpoint first
}

// Config is how a Server differs from one without TLS on a free port.
type Config struct {
	CertFile, KeyFile string // of the server, which then is https
	ClientCAFile      string // clients have to show a certificate of this authority
	WithoutV2         bool
}

// startWithin is far more than it takes on a busy machine.
const startWithin = 30 * time.Second

// Start starts a server whose data lie in a directory of its own until Close.
func Start(c Config) (*Server, error) {
	dir, err := os.MkdirTemp("", "etcdtest")
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.EnableV2 = !c.WithoutV2
	cfg.UnsafeNoFsync = true
	cfg.TickMs, cfg.ElectionMs = 10, 100 // leases of 1 s need a short election
	cfg.LogLevel = "panic"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	client, peer, err := urls(c)
	if err != nil {
		return nil, err
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ClientTLSInfo = transport.TLSInfo{
		CertFile: c.CertFile, KeyFile: c.KeyFile, TrustedCAFile: c.ClientCAFile, ClientCertAuth: c.ClientCAFile != "",
	}
	way := &Way{addr: "127.0.0.1:0", server: client.Host, listen: listenHere}
	s := &Server{cfg: cfg, ways: []*Way{way}}
	if err := s.Run(); err != nil {
		return nil, err
	}
	s.Endpoint = client.Scheme + "://" + way.addr
	return s, nil
}

// Test starts a server that is closed with the test.
func Test(t testing.TB, c Config) *Server {
	t.Helper()
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Run starts a server that was stopped on the port that it had.
func (s *Server) Run() error {
	if err := s.RunCut(); err != nil {
		return err
	}
	return s.Mend()
}

// Open lets clients in at another address, on which listen listens: in another
// network namespace, say; nil for this one.
func (s *Server) Open(addr string, listen func(addr string) (net.Listener, error)) (*Way, error) {
	if listen == nil {
		listen = listenHere
	}
	w := &Way{addr: addr, server: s.cfg.ListenClientUrls[0].Host, listen: listen}
	s.ways = append(s.ways, w)
	return w, w.Mend()
}

// RunCut starts a server that was stopped but lets clients through only at Mend.
func (s *Server) RunCut() error {
	etcd, err := embed.StartEtcd(s.cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-etcd.Server.ReadyNotify():
		s.etcd = etcd
		return nil
	case <-time.After(startWithin):
		etcd.Close()
		return fmt.Errorf("etcd is not ready within %v", startWithin)
	}
}

// Stop ends the server, for its clients as if it were killed, and keeps its
// data.
func (s *Server) Stop() {
	s.Cut()
	if s.etcd != nil {
		s.etcd.Close()
	}
	s.etcd = nil
}

// Cut ends all connections to the server, which goes on, and lets none through
// until Mend.
func (s *Server) Cut() {
	for _, w := range s.ways {
		w.Cut()
	}
}

// Mend undoes Cut.
func (s *Server) Mend() error {
	for _, w := range s.ways {
		if err := w.Mend(); err != nil {
			return err
		}
	}
	return nil
}

// Direct is an endpoint that Cut does not reach. Nobody may hold connections to
// it when the server is stopped: it waits for those that have not said anything.
func (s *Server) Direct() string { return s.cfg.ListenClientUrls[0].String() }

// Forget deletes the data of a stopped server.
func (s *Server) Forget() error { return os.RemoveAll(s.cfg.Dir) }

// Close ends the server and deletes its data.
func (s *Server) Close() {
	s.Stop()
	_ = s.Forget()
}

func urls(c Config) (client, peer url.URL, err error) {
	scheme := "http"
	if c.CertFile != "" {
		scheme = "https"
	}
	if client, err = freeURL(scheme); err != nil {
		return client, peer, err
	}
	peer, err = freeURL("http")
	return client, peer, err
}

// freeURL takes a port from the kernel, because etcd writes its own addresses
// down before it listens.
func freeURL(scheme string) (url.URL, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return url.URL{}, err
	}
	defer l.Close()
	return url.URL{Scheme: scheme, Host: l.Addr().String()}, nil
}

package etcdtest

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// Shared is one server for all tests of a package.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
	prefix atomic.Int64
}

// Main runs the tests of a package and then ends their server, if there was one.
func (s *Shared) Main(m *testing.M) {
	code := m.Run()
	s.Close()
	os.Exit(code)
}

// Close ends the server, if there was one.
func (s *Shared) Close() {
	if s.server != nil {
		s.server.Close()
	}
}

// Prefix returns the server, which the first use starts, and a prefix that no
// other test has.
func (s *Shared) Prefix(t testing.TB) (server *Server, prefix string) {
	t.Helper()
	s.once.Do(func() { s.server, s.err = Start(Config{}) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server, fmt.Sprintf("/test%d/network", s.prefix.Add(1))
}

//go:build !linux || portable

package underlay

import (
	"net/netip"
	"time"
)

// Routes would tell how remotes are reached.
type Routes struct{}

// OpenRoutes opens nothing.
func OpenRoutes() (*Routes, error) { return &Routes{}, nil }

// Of returns nothing: not known.
func (*Routes) Of(netip.Addr, netip.Addr, int, time.Duration) *Via {
	return &Via{Refused: "the route is not known"}
}

// Close closes nothing.
func (*Routes) Close() {}

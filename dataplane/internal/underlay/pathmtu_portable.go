//go:build !linux || portable

package underlay

import (
	"net/netip"
	"time"
)

// PathMTU would tell what a path carries. Neither package net nor
// golang.org/x/net can ask the system.
type PathMTU struct{}

// OpenPathMTU opens nothing.
func OpenPathMTU(bool, netip.Addr) (*PathMTU, error) { return &PathMTU{}, nil }

// Of returns 0: not known.
func (*PathMTU) Of(netip.Addr, int, time.Duration) int { return 0 }

// Close closes nothing.
func (*PathMTU) Close() error { return nil }

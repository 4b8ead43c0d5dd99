//go:build !linux || portable

package dataplane

import "go.uber.org/zap"

// watchNeighbours has nothing to follow: resolve refuses `proxy`, because
// package net does not tell the system's neighbour table.
func (*Link) watchNeighbours(*zap.Logger) {}

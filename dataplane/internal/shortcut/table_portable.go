//go:build !linux || portable

package shortcut

import (
	"errors"
	"io"
	"time"
)

// Table has nothing in it.
type Table struct{}

// Open has nothing to open.
func Open(func(Lack)) (*Table, error) { return nil, errors.New("it takes Linux") }

// Close and the other methods do nothing.
func (*Table) Close() {}

// Without has nothing to say.
func (*Table) Without() (tx, rx string) { return "", "" }

// Slot returns nil: there is none.
func (*Table) Slot() *Slot { return nil }

// Free does nothing.
func (*Table) Free(*Slot) {}

// Figures are all zero.
func (*Table) Figures(*Slot) Figures { return Figures{} }

// SendBy fails.
func (*Table) SendBy(int, Kind) (io.Closer, error) { return nil, errors.ErrUnsupported }

// ReceiveBy fails.
func (*Table) ReceiveBy(int) error { return errors.ErrUnsupported }

// Send reports that it is no flow for a program.
func (*Table) Send(*Send) (g Grant, ok bool) { return g, false }

// Receive does so too.
func (*Table) Receive(*Receive) (g Grant, ok bool) { return g, false }

// Ring has nothing in it either.
type Ring struct{}

// OpenRing has nothing to open.
func (*Table) OpenRing() (*Ring, error) { return nil, errors.ErrUnsupported }

// FloodBy fails.
func (*Table) FloodBy(*Slot, *Ring) error { return errors.ErrUnsupported }

// FD is none.
func (*Ring) FD() int { return -1 }

// End and At are where there is nothing.
func (*Ring) End() uint64 { return 0 }

// At is there too.
func (*Ring) At() uint64 { return 0 }

// Next returns nothing.
func (*Ring) Next() (frame []byte, link int, ok bool) { return nil, 0, false }

// Sleep and the other methods do nothing.
func (*Ring) Sleep(uint64) bool { return true }

// Awake does nothing.
func (*Ring) Awake() {}

// Quiet is no time.
func (*Ring) Quiet() time.Duration { return 0 }

// Calm does nothing.
func (*Ring) Calm(uint64) {}

// Full is no datagrams.
func (*Ring) Full() uint64 { return 0 }

// Shut does nothing.
func (*Ring) Shut(uint64) {}

// Release does nothing.
func (*Ring) Release() {}

// Close has nothing to close.
func (*Ring) Close() {}

// Now is a time that nothing goes by.
func Now() uint64 { return 0 }

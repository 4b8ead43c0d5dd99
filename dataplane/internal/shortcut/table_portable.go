//go:build !linux || portable

package shortcut

import (
	"errors"
	"io"
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

// Now is a time that nothing goes by.
func Now() uint64 { return 0 }

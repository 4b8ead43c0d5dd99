//go:build !linux || portable

package injector

import "errors"

type handle struct{}

// Open has nothing to open.
func Open() (*Device, error) {
	return nil, errors.New("tunnelled super-frames came with Linux 6.17")
}

// Name returns nothing.
func (*Device) Name() string { return "" }

// Close closes nothing.
func (*Device) Close() error { return nil }

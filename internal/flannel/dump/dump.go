// Package dump reads lists of the kernel's that others change meanwhile.
package dump

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// tries is how often a list is read that changes each time. Containers that
// start all at once change it for longer than one reading takes, but not for
// ever.
const tries = 10

// Consistent repeats a dump during which the list changed. If that is so each
// time it returns what was read last, with netlink.ErrDumpInterrupted.
func Consistent[T any](read func() ([]T, error)) (all []T, err error) {
	for range tries {
		if all, err = read(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

package entries

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// told is how many failures are told one by one: a device that refuses all of
// ten thousand peers does so for one reason.
const told = 8

// Join makes one error of failures, or nil if there are none.
func Join(failures []Failure) error {
	slices.SortFunc(failures, func(a, b Failure) int { return strings.Compare(a.Peer, b.Peer) })
	var errs []error
	for _, f := range failures[:min(len(failures), told)] {
		errs = append(errs, f.error())
	}
	if more := len(failures) - told; more > 0 {
		errs = append(errs, fmt.Errorf("and %d more failures like these", more))
	}
	return errors.Join(errs...)
}

func (f Failure) error() error {
	if f.Peer == "" {
		return fmt.Errorf("stale entry: %w", f.Err)
	}
	return fmt.Errorf("peer %s: %w", f.Peer, f.Err)
}

package entries

import (
	"errors"
	"fmt"
	"maps"
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

// Remaining leaves of what could not be deleted that which is still there: what
// is gone already cannot be.
func Remaining[K comparable, V any](failed map[K]error, look func() (map[K]V, error)) map[K]error {
	if len(failed) == 0 {
		return nil
	}
	if still, err := look(); err == nil {
		maps.DeleteFunc(failed, func(k K, _ error) bool {
			_, there := still[k]
			return !there
		})
	}
	return failed
}

func (f Failure) error() error {
	if f.Peer == "" {
		return fmt.Errorf("stale entry: %w", f.Err)
	}
	return fmt.Errorf("peer %s: %w", f.Peer, f.Err)
}

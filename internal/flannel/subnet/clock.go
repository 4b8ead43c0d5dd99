package subnet

import "time"

// A Timer sends once the time has passed, unless stop is called before.
type Timer func(time.Duration) (fired <-chan time.Time, stop func())

func timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

//go:build linux

package benchmark

import "time"

// overload sends as many datagrams as go, and sees what arrives. Paths differ
// in what they do to a sender that is too fast: the kernel's makes it wait, a
// TAP drops. The loss says which.
func overload(size int) func(*Way, time.Duration) (Figures, error) {
	return func(w *Way, round time.Duration) (Figures, error) {
		flood, err := newFlood(w, size)
		if err != nil {
			return nil, err
		}
		defer flood.close()
		out, err := flood.run(0, round)
		if err != nil {
			return nil, err
		}
		return out.figures(size), nil
	}
}

func (f flooded) figures(size int) Figures {
	figures := Figures{kpps: f.rate() / 1e3, loss: f.lost()}
	figures.setCost(f.busy, int64(f.received)*int64(size))
	return figures
}

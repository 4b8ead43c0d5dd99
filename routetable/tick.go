package routetable

import (
	"math"
	"time"
)

// Tick is a time in eighths of a second since some start, the same for all
// Ticks that meet. It wraps after 17 years; times are told apart as long as
// they are less than half of that away from each other.
type Tick uint32

// TicksPerSecond is coarse, so that an entry in constant use is written to eight
// times a second and not with every frame.
const TicksPerSecond = 8

// TickOf returns the Tick of d after the start.
func TickOf(d time.Duration) Tick { return Tick(d / (time.Second / TicksPerSecond)) }

// since returns the ticks from then until t, negative if then is the later.
func (t Tick) since(then Tick) int32 { return int32(t - then) }

// ticksOf rounds d up to ticks, and down to the longest span that since can
// tell.
func ticksOf(d time.Duration) uint32 {
	const tick = time.Second / TicksPerSecond
	if d >= (math.MaxInt32-1)*tick {
		return math.MaxInt32 - 1
	}
	return uint32((d + tick - 1) / tick)
}

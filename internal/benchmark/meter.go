//go:build linux

package benchmark

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor times in /proc: USER_HZ is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// meter measures what the whole machine, all cores, is busy with: both hosts,
// both ends of the traffic, and what the kernel does for them in interrupts.
// Other programs are in it too, so it wants a machine that is otherwise idle.
type meter struct{ busy time.Duration }

func startMeter() (meter, error) {
	busy, err := busyTime()
	return meter{busy}, err
}

// read is the processor time used since the start.
func (m meter) read() (time.Duration, error) {
	busy, err := busyTime()
	return busy - m.busy, err
}

func busyTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(text))
}

// parseBusy adds up the first line of proc_stat(5), but not what was idle
// (fields 4 and 5), stolen by the hypervisor (8), or counted already (9 and
// 10, guests).
func parseBusy(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q, want the times of all processors", line)
	}
	var ticks uint64
	for _, at := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseUint(fields[at], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

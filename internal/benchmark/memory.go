//go:build linux

package benchmark

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Resident is how many bytes a daemon with some links has in memory, all on one
// port, before it has carried much.
func Resident(n int) (resident float64, err error) {
	bed, err := NewBed(Modes()[0])
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	way, err := bed.Lay(Path{Name: fmt.Sprintf("weft-%d-links", n), lay: layWeft, crowd: links(n)})
	if err != nil {
		return 0, err
	}
	return way.From.link.resident()
}

// resident is what the link's daemon has in memory, in bytes.
func (l *weftLink) resident() (float64, error) {
	pid, err := os.ReadFile(l.lock)
	if err != nil {
		return 0, fmt.Errorf("finding the daemon's process: %w", err)
	}
	text, err := os.ReadFile(filepath.Join("/proc", string(bytes.TrimSpace(pid)), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kB, err := strconv.Atoi(f[1])
			return float64(kB) * 1024, err
		}
	}
	return 0, errors.New("the daemon shows no VmRSS")
}

//go:build linux

package vtep

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// Quit has the daemons of a run directory, which ought to have ended by themselves, say
// in their logs where each of their goroutines is, and end.
func Quit(dir string) {
	locks, _ := filepath.Glob(filepath.Join(dir, "*.lock"))
	for _, path := range locks {
		text, _ := os.ReadFile(path)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || syscall.Kill(pid, syscall.SIGQUIT) != nil {
			continue
		}
		_ = lab.Eventually(5*time.Second, func() error { return stillThere(pid) })
	}
}

// stillThere is an error until the process has ended.
func stillThere(pid int) error {
	if syscall.Kill(pid, 0) != nil {
		return nil
	}
	return os.ErrExist
}

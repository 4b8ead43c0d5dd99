package daemon

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// shedProgram unmaps the pages of the program's own code and constants that
// were read at its start. Half of the program is etcd, which a daemon never
// calls, but every package is initialised and its pages then count as the
// daemon's: more than 10 MB. What is needed is mapped again when it is.
func shedProgram() {
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	for _, m := range programMappings(maps) {
		// Of the kernel's calls the one of package unix wants a slice, and there is none to be had of code.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
	}
}

type mapping struct{ from, to uintptr }

// programMappings returns what is mapped from a file, cannot be written, and
// has no page that is other than in the file, as a relocated one would be.
func programMappings(smaps io.Reader) (all []mapping) {
	var m mapping
	var mode, path string
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		line := lines.Text()
		if fields := strings.Fields(line); len(fields) >= 5 && !strings.HasSuffix(fields[0], ":") {
			mode, path = fields[1], strings.Join(fields[5:], " ")
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &m.from, &m.to); err != nil {
				return nil
			}
			continue
		}
		if strings.HasPrefix(line, "Anonymous:") && strings.Fields(line)[1] == "0" && strings.HasPrefix(path, "/") && mode[1] == '-' {
			all = append(all, m)
		}
	}
	return all
}

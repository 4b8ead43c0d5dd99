//go:build linux

package benchmark

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/benchmark/result"
	"github.com/weftnet/weft/internal/lab"
)

// Machine is what figures depend on and do not tell, under the keys of the Go
// benchmark format.
func Machine() []result.Setting {
	return []result.Setting{
		{Key: "kernel", Value: kernelRelease()},
		{Key: "cores", Value: strconv.Itoa(runtime.NumCPU())},
		{Key: "cpu", Value: processor()},
		{Key: "congestion", Value: congestion()},
		{Key: "date", Value: time.Now().UTC().Format(time.DateOnly)},
	}
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// processor is the model that /proc/cpuinfo names; not every architecture's does.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// congestion is the congestion control that connections between hosts of the
// lab have in fact: it changes every figure of TCP.
func congestion() string {
	h, err := lab.NewHost("probe")
	if err != nil {
		return "unknown"
	}
	defer func() { _ = h.Close() }()
	name, err := h.Congestion()
	if err != nil {
		return "unknown"
	}
	return name
}

package daemon

import (
	"os"
	"strconv"

	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane"
)

// Environment variables that change what a daemon's links do. They are for
// finding out what is wrong, and for benchmarks.
const (
	// envReceiveBuffer holds the size in bytes which is asked for each
	// receiving socket. 0 leaves the system's default,
	// net.core.rmem_default: to save memory, or to see what a small buffer
	// does.
	envReceiveBuffer = "WEFT_RCVBUF"
	// envWithout names offloads that are not used, of dev_gso, dev_uso,
	// udp_gso, udp_gro, tunnel_gso, with commas between.
	envWithout = "WEFT_OFFLOAD_OFF"
	// envAnyway names those that are used on kernels that are known to have
	// them broken.
	envAnyway = "WEFT_OFFLOAD_ANYWAY"
)

// newLinks is the dataplane that a daemon serves.
func newLinks(log *zap.Logger) links[*dataplane.Link] {
	d := dataplane.New(log)
	d.ReceiveBuffer = receiveBuffer(log, d.ReceiveBuffer)
	d.Without = offloads(log, envWithout)
	d.Anyway = offloads(log, envAnyway)
	return d
}

func receiveBuffer(log *zap.Logger, otherwise int) int {
	text := os.Getenv(envReceiveBuffer)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		log.Warn("a number of bytes is wanted, 0 or more: the variable is ignored", zap.String(envReceiveBuffer, text))
		return otherwise
	}
	return n
}

func offloads(log *zap.Logger, variable string) dataplane.Offloads {
	set, err := dataplane.ParseOffloads(os.Getenv(variable))
	if err != nil {
		log.Warn("the variable is ignored", zap.String("variable", variable), zap.Error(err))
	}
	return set
}

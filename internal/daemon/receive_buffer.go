package daemon

import (
	"os"
	"strconv"

	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane"
)

// envReceiveBuffer names a variable that holds the size in bytes which is
// asked for each receiving socket. 0 leaves the system's default,
// net.core.rmem_default: to save memory, or to see what a small buffer does.
const envReceiveBuffer = "WEFT_RCVBUF"

// newLinks is the dataplane that a daemon serves.
func newLinks(log *zap.Logger) links[*dataplane.Link] {
	d := dataplane.New(log)
	text := os.Getenv(envReceiveBuffer)
	if text == "" {
		return d
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		log.Warn("a number of bytes is wanted, 0 or more: the variable is ignored", zap.String(envReceiveBuffer, text))
		return d
	}
	d.ReceiveBuffer = n
	return d
}

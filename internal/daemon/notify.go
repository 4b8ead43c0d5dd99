package daemon

import (
	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/sdnotify"
)

// notify tells the service manager about the daemon's state.
func notify(log *zap.Logger, state string) {
	if err := sdnotify.Send(state); err != nil {
		log.Warn("service manager was not told", zap.String("state", state), zap.Error(err))
	}
}

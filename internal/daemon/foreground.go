package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/control"
)

// handover is how long a daemon in the foreground waits for one that is on
// its way out.
const handover = 2 * time.Second

// Foreground is `weft daemon`: it serves the network namespace until ctx
// ends, logs to standard error, and tells systemd when it is ready.
func Foreground(ctx context.Context, dir control.RunDir) error {
	netns, err := control.NetNS()
	if err != nil {
		return err
	}
	if _, err := dir.Create(); err != nil {
		return err
	}
	owned, err := awaitTurn(ctx, dir.Lock(netns))
	if err != nil {
		return err
	}
	defer owned.release(dir.Lock(netns))
	owned.sign()
	l, err := control.Listen(dir.Socket(netns))
	if err != nil {
		return err
	}
	return serveForeground(ctx, l, newLogger(os.Stderr, nil).With(zap.Uint64("netns", netns)))
}

func serveForeground(ctx context.Context, l *net.UnixListener, log *zap.Logger) error {
	log.Info("serving", zap.String("socket", l.Addr().String()))
	notify(log, "READY=1")
	defer context.AfterFunc(ctx, func() { notify(log, "STOPPING=1") })()
	d := newDaemon(log, newLinks(log), true)
	return d.run(ctx, l, nil)
}

func awaitTurn(ctx context.Context, path string) (*lock, error) {
	ctx, cancel := context.WithTimeout(ctx, handover)
	defer cancel()
	owned, err := awaitLock(ctx, path)
	if errors.Is(err, errHeld) {
		return nil, fmt.Errorf("%w (process %s): `weft link show` lists its links; end it with `kill %[2]s` to start one here", err, holder(path))
	}
	return owned, err
}

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
	"github.com/weftnet/weft/internal/sdnotify"
)

// handover is how long a daemon in the foreground waits for one that is on
// its way out.
const handover = 2 * time.Second

// Foreground is `weft daemon`: it serves the network namespace until ctx
// ends, logs to standard error, and tells systemd when it is ready. If setUp
// is not nil the daemon calls it once it answers and is ready when it has
// returned; with an error the daemon ends, which is then Foreground's.
func Foreground(ctx context.Context, dir control.RunDir, setUp func(context.Context) error) error {
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
	return serveForeground(ctx, l, newLogger(os.Stderr, nil).With(zap.Uint64("netns", netns)), setUp)
}

func serveForeground(ctx context.Context, l *net.UnixListener, log *zap.Logger, setUp func(context.Context) error) error {
	shedProgram()
	log.Info("serving", zap.String("socket", l.Addr().String()))
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(ctx, func() { notify(log, sdnotify.Stopping) })()
	failed := make(chan error, 1)
	go func() {
		if err := setUpAndNotify(ctx, log, setUp); err != nil {
			failed <- err
			end()
		}
	}()
	d := newDaemon(log, newLinks(log), true)
	err := d.run(ctx, l, nil)
	select {
	case setUpErr := <-failed:
		return errors.Join(setUpErr, err)
	default: // also when the set-up still waits for something: it ends with the process
		return err
	}
}

// setUpAndNotify returns the error of a set-up that failed by itself, and not
// for being told to end.
func setUpAndNotify(ctx context.Context, log *zap.Logger, setUp func(context.Context) error) error {
	if setUp != nil {
		if err := setUp(ctx); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
	}
	notify(log, sdnotify.Ready)
	return nil
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

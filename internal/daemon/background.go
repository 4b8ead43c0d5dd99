package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/control"
)

// Descriptors that start gives to the process in which Background runs.
const (
	lockFD  = 3 // the lock, held
	firstFD = 4 // one end of a socket pair: the control connection of the starter
)

// Background is the daemon that start starts. It answers the starter first and
// ends after its last link or when ctx ends. Its log stays only if there is
// something to read in it.
func Background(ctx context.Context, dir control.RunDir) error {
	first, owned, err := inherited()
	if err != nil {
		return err
	}
	netns, err := control.NetNS()
	if err != nil {
		return refuseAll(first, err)
	}
	defer owned.release(dir.Lock(netns))
	owned.sign()
	fresh := isEmpty(os.Stderr)
	worthKeeping, err := serveBackground(ctx, dir.Socket(netns), first)
	if fresh && !worthKeeping {
		_ = os.Remove(dir.Log(netns))
	}
	return err
}

// serveBackground reports whether somebody should read the log. What kept the
// starter from its link is not for there: the starter was told.
func serveBackground(ctx context.Context, socket string, first net.Conn) (worthKeeping bool, err error) {
	l, err := control.Listen(socket)
	if err != nil {
		return false, refuseAll(first, err)
	}
	var troubled atomic.Bool
	log := newLogger(os.Stderr, &troubled)
	shedProgram()
	log.Info("serving", zap.String("socket", socket), zap.Int("pid", os.Getpid()))
	d := newDaemon(log, newLinks(log), false)
	err = d.run(ctx, l, first)
	return err != nil || d.served && troubled.Load(), err
}

// inherited takes over what start passed on. Nothing is closed that it did not
// pass on: without a starter a descriptor of the same number is the runtime's
// own, and the program would end without a word that anybody understands.
func inherited() (net.Conn, *lock, error) {
	if _, err := unix.GetsockoptInt(firstFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return nil, nil, errors.New("--background is for `weft link add`, which starts daemons; use `weft daemon` without it")
	}
	file := os.NewFile(firstFD, "starter")
	defer file.Close()
	first, err := net.FileConn(file)
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection of who started the daemon: %w", err)
	}
	return first, &lock{os.NewFile(lockFD, "lock")}, nil
}

// refuseAll gives the starter the reason why there is no daemon.
func refuseAll(first net.Conn, err error) error {
	err = fmt.Errorf("start the daemon: %w", err)
	resp := control.Failed(err)
	resp.Ending = true // the starter waits until this process has ended, and left nothing
	control.NewServer(func(*control.Exchange) control.Response { return resp }).Converse(first)
	return err
}

func isEmpty(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Size() == 0
}

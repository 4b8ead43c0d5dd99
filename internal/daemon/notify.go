package daemon

import (
	"net"
	"os"

	"go.uber.org/zap"
)

// notify tells the service manager about the daemon's state (sd_notify(3)), if
// there is one that asked for it.
func notify(log *zap.Logger, state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if err := sendState(path, state); err != nil {
		log.Warn("service manager was not told", zap.String("state", state), zap.Error(err))
	}
}

// sendState sends one datagram to path; a leading @ stands for the abstract
// name space, in package net as in NOTIFY_SOCKET.
func sendState(path, state string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}

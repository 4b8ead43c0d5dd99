// Package sdnotify tells the service manager how a process is
// (sd_notify(3)).
package sdnotify

import (
	"net"
	"os"
)

// States that the service manager knows.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Send tells the service manager, if there is one that asked for it.
func Send(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	return send(path, state)
}

// send sends one datagram to path; a leading @ stands for the abstract name
// space, in package net as in NOTIFY_SOCKET.
func send(path, state string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}

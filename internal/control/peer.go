package control

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// checkPeer refuses whoever is neither root nor the daemon's own user. The
// socket's mode already does; this holds should someone widen it.
func checkPeer(conn *net.UnixConn) error {
	cred, err := peerCredentials(conn)
	if err != nil {
		return fmt.Errorf("ask who is calling: %w", err)
	}
	if cred.Uid != 0 && cred.Uid != uint32(os.Geteuid()) {
		return fmt.Errorf("user %d may not use this daemon: only root and user %d may", cred.Uid, os.Geteuid())
	}
	return nil
}

func peerCredentials(conn *net.UnixConn) (cred *unix.Ucred, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	ctlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if ctlErr != nil {
		return nil, ctlErr
	}
	return cred, err
}

//go:build !portable

package underlay

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// onlySend prepares a socket that nothing is read from: what arrives on its
// port is dropped by a filter before it takes memory.
func (s *Socket) onlySend() error {
	if err := s.dropIncoming(); err != nil {
		return err
	}
	setBuffer(s.fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer)
	return nil
}

func (s *Socket) dropIncoming() error {
	const returnZero = unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{{Code: returnZero, K: 0}}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	return nil
}

//go:build !linux || portable

package underlay

import (
	"errors"
	"net"
	"runtime"
	"syscall"

	"golang.org/x/net/ipv4"
)

// hasBatches says that x/net's ReadBatch and WriteBatch work. On Windows they
// are there, and return an error.
const hasBatches = runtime.GOOS != "windows"

// oneByOne is the batchConn where there are no batches: it moves one message a
// call, without control messages.
type oneByOne struct {
	conn  *net.UDPConn
	whole []byte // one datagram in one piece
}

// ReadBatch reads one datagram into the first message.
func (c *oneByOne) ReadBatch(messages []ipv4.Message, _ int) (int, error) {
	m := &messages[0]
	n, from, err := c.conn.ReadFromUDP(m.Buffers[0])
	if err != nil {
		return 0, err
	}
	m.N, m.NN, m.Addr = n, 0, from
	return 1, nil
}

// WriteBatch writes the first message.
func (c *oneByOne) WriteBatch(messages []ipv4.Message, _ int) (int, error) {
	m := &messages[0]
	c.whole = c.whole[:0]
	for _, part := range m.Buffers {
		c.whole = append(c.whole, part...)
	}
	if _, err := c.conn.WriteTo(c.whole, m.Addr); err != nil {
		return 0, err
	}
	return 1, nil
}

// winsock holds Windows' own numbers for errors that callers know by their
// POSIX names.
var winsock = map[syscall.Errno]syscall.Errno{
	10013: syscall.EACCES,
	10040: syscall.EMSGSIZE,
	10048: syscall.EADDRINUSE,
	10051: syscall.ENETUNREACH,
	10065: syscall.EHOSTUNREACH,
}

// posixError translates an error of a Windows socket. Others it returns as
// they are: their numbers do not reach that far.
func posixError(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && winsock[errno] != 0 {
		return winsock[errno]
	}
	return err
}

package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"time"
)

// Exchange is one request and the way back to whoever made it.
type Exchange struct {
	Request

	conn    net.Conn
	in      *bufio.Reader
	closing func() bool // whether the server is being closed
	hungUp  chan struct{}
}

// writePause is how often a response that is not taken looks whether it ever
// will be.
const writePause = 200 * time.Millisecond

// Send sends a response that is not the last one. It returns false when nobody
// takes it any more, or the server is closed.
func (x *Exchange) Send(resp Response) bool {
	resp.More = true
	return x.write(resp, 0)
}

// write waits for as long as there is a client, which may hand what it gets to
// somebody who reads a page at a time. Once the server is closed it gives up
// when the response is older than patience.
func (x *Exchange) write(resp Response, patience time.Duration) bool {
	line, err := json.Marshal(resp)
	if err != nil {
		return false
	}
	begun := time.Now()
	for line = append(line, '\n'); len(line) > 0; {
		_ = x.conn.SetWriteDeadline(time.Now().Add(writePause))
		n, err := x.conn.Write(line)
		line = line[n:]
		if err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || x.closing() && time.Since(begun) >= patience) {
			return false
		}
	}
	return true
}

// HungUp is closed when the client ends the connection, or the server is
// closed. Once it has been asked for, the connection serves no other request.
func (x *Exchange) HungUp() <-chan struct{} {
	if x.hungUp == nil {
		x.hungUp = make(chan struct{})
		go func() {
			defer close(x.hungUp)
			_, _ = x.in.ReadByte() // nothing is to come
		}()
	}
	return x.hungUp
}

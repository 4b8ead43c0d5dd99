package control

import (
	"bufio"
	"net"
)

// Exchange is one request and the way back to whoever made it.
type Exchange struct {
	Request

	conn   net.Conn
	in     *bufio.Reader
	hungUp chan struct{}
}

// Send sends a response that is not the last one. It returns false when nobody
// takes it.
func (x *Exchange) Send(resp Response) bool {
	resp.More = true
	return answer(x.conn, resp)
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

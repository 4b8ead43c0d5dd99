package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Conn is a client's connection to a daemon. It is for one goroutine.
type Conn struct {
	conn net.Conn
	in   *bufio.Reader
}

// Dial connects to the daemon that listens on the socket path.
func Dial(ctx context.Context, path string) (*Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return NewConn(conn), nil
}

// NewConn speaks the protocol over conn, which it then owns.
func NewConn(conn net.Conn) *Conn {
	return &Conn{conn: conn, in: bufio.NewReader(conn)}
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Call sends one request and waits for its response until ctx ends. An error
// means that there was no answer; what the daemon refused is in the response.
func (c *Conn) Call(ctx context.Context, req Request) (Response, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req.Version = Version
	resp, err := c.roundTrip(req)
	if err != nil && ctx.Err() != nil {
		return Response{}, fmt.Errorf("no answer from the daemon: %w", ctx.Err())
	}
	return resp, err
}

// Stream sends one request and hands every response to take, until the last
// one, an error of take, or the end of ctx.
func (c *Conn) Stream(ctx context.Context, req Request, take func(Response) error) error {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req.Version = Version
	if err := writeLine(c.conn, req); err != nil {
		return err
	}
	for {
		resp, err := c.receive()
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if err := take(resp); err != nil || !resp.More {
			return err
		}
	}
}

func (c *Conn) roundTrip(req Request) (Response, error) {
	if err := writeLine(c.conn, req); err != nil {
		return Response{}, err
	}
	return c.receive()
}

func (c *Conn) receive() (Response, error) {
	line, err := readLine(c.in, maxResponse)
	if err != nil {
		return Response{}, err
	}
	var resp Response
	if err := json.Unmarshal(line, &resp); err != nil {
		return Response{}, fmt.Errorf("answer of the daemon is not understood: %w", err)
	}
	return resp, nil
}

// Call connects to the daemon on the socket path for one request.
func Call(ctx context.Context, path string, req Request) (Response, error) {
	conn, err := Dial(ctx, path)
	if err != nil {
		return Response{}, err
	}
	defer conn.Close()
	return conn.Call(ctx, req)
}

// Dead reports whether err, of Dial or Call, says that no daemon serves the
// socket any more: it was killed, or it ended before it read the request.
func Dead(err error) bool {
	for _, gone := range []error{
		io.EOF, io.ErrUnexpectedEOF,
		syscall.ENOENT, syscall.ENOTDIR, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

package control

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"testing"
	"time"

	"github.com/weftnet/weft/dataplane"
)

// slowConn takes a few bytes, then nothing until the next deadline, and so on.
type slowConn struct {
	net.Conn
	taken  bytes.Buffer
	writes int
}

func (c *slowConn) SetWriteDeadline(time.Time) error { return nil }

func (c *slowConn) Write(b []byte) (int, error) {
	c.writes++
	n := min(len(b), 7)
	c.taken.Write(b[:n])
	if n == len(b) {
		return n, nil
	}
	return n, os.ErrDeadlineExceeded
}

// Whoever reads slowly gets all of it, and does not keep a server from ending.
func TestSendWaitsForASlowReader(t *testing.T) {
	open := func() bool { return false }
	conn := &slowConn{}
	x := &Exchange{conn: conn, closing: open}
	sent := Response{Version: Version, FDB: make([]dataplane.FDBEntry, 9)}
	for range 2 {
		if !x.Send(sent) {
			t.Fatalf("gave up after %d writes", conn.writes)
		}
	}
	in := json.NewDecoder(&conn.taken)
	for range 2 {
		var got Response
		if err := in.Decode(&got); err != nil || !got.More || len(got.FDB) != 9 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	conn = &slowConn{}
	x = &Exchange{conn: conn, closing: func() bool { return true }}
	if x.Send(sent) || conn.writes != 1 {
		t.Errorf("a closed server went on for %d writes", conn.writes)
	}
	if !x.write(sent, time.Hour) {
		t.Error("a closed server does not send its last response")
	}
}

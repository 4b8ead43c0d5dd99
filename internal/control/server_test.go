package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/dataplane"
)

// serve runs a server on a socket of its own, which ends with the test.
func serve(t *testing.T, handle func(Request) Response) (path string, server *Server) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "1.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server = NewServer(func(x *Exchange) Response { return handle(x.Request) })
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
		server.Close()
	})
	return path, server
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func echo(req Request) Response {
	return Done(Link{Info: dataplane.LinkInfo{LinkConfig: *req.Link, Index: 7, NetNS: 4026531840}})
}

func TestCallCarriesRequestAndResponse(t *testing.T) {
	path, _ := serve(t, echo)
	cfg := dataplane.LinkConfig{Name: "vx0", VNI: 5, Port: 4789, DF: dataplane.DFSet, TTLCopy: true}
	conn, err := Dial(within(t), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 { // several in turn on one connection
		resp, err := conn.Call(within(t), Request{Op: OpAdd, Link: &cfg})
		if err != nil {
			t.Fatal(err)
		}
		if !resp.OK || resp.Version != Version || !reflect.DeepEqual(resp.Links[0].Info.LinkConfig, cfg) || resp.Links[0].Info.NetNS != 4026531840 {
			t.Fatalf("response %+v", resp)
		}
	}
}

// speak sends raw bytes and returns the lines that come back until the server
// closes the connection, or until want lines.
func speak(t *testing.T, path, text string, want int) (answers []Response, closed bool) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Logf("write: %v", err) // the server may close before it has read all
	}
	in := bufio.NewReader(conn)
	for len(answers) < want {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return answers, !errors.Is(err, os.ErrDeadlineExceeded)
		}
		var resp Response
		if err := json.Unmarshal(line, &resp); err != nil {
			t.Fatalf("answer %q: %v", line, err)
		}
		answers = append(answers, resp)
	}
	return answers, false
}

func TestBadInputIsAnsweredAndDoesNoHarm(t *testing.T) {
	path, _ := serve(t, func(Request) Response { return Done() })
	good := `{"version":1,"op":"list"}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"not JSON":      {"hello\n", "not understood"},
		"empty line":    {"\n", "not understood"},
		"wrong type":    {`{"version":1,"op":7}` + "\n", "not understood"},
		"unknown field": {`{"version":1,"op":"add","link":{"name":"a","cloak":1}}` + "\n", `unknown field "cloak"`},
		"other version": {`{"version":9,"op":"list"}` + "\n", "version 9, and this daemon speaks version 1"},
		"bytes":         {"\x00\xff\xfe\n", "not understood"},
	} {
		t.Run(name, func(t *testing.T) {
			answers, _ := speak(t, path, c.text+good, 2)
			if len(answers) != 2 || answers[0].OK || !strings.Contains(answers[0].Error, c.want) {
				t.Fatalf("answers %+v, want an error with %q and then success", answers, c.want)
			}
			if !answers[1].OK {
				t.Fatalf("the next request was refused: %+v", answers[1])
			}
		})
	}
}

func TestLongLineEndsItsConnectionOnly(t *testing.T) {
	path, _ := serve(t, func(Request) Response { return Done() })
	answers, closed := speak(t, path, strings.Repeat("x", maxRequest+100)+"\n", 2)
	if len(answers) != 1 || !strings.Contains(answers[0].Error, "too long") || !closed {
		t.Fatalf("answers %+v, closed %v", answers, closed)
	}
	if resp, err := Call(within(t), path, Request{Op: OpList}); err != nil || !resp.OK {
		t.Fatalf("the next connection got %+v, %v", resp, err)
	}
}

func TestHalfALineIsNoRequest(t *testing.T) {
	asked := make(chan Request, 1)
	path, server := serve(t, func(r Request) Response { asked <- r; return Done() })
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, `{"version":1,"op":"list"}`); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	server.Close() // returns once the connection has been read to its end
	if len(asked) != 0 {
		t.Fatalf("a line without end was taken as request %+v", <-asked)
	}
}

// An idle connection must not keep the daemon, and a request at work must
// still be answered.
func TestCloseAnswersWhatIsAtWork(t *testing.T) {
	entered, proceed := make(chan struct{}), make(chan struct{})
	path, server := serve(t, func(Request) Response {
		close(entered)
		<-proceed
		return Done()
	})
	idle, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	answered := make(chan error, 1)
	go func() {
		resp, err := Call(context.Background(), path, Request{Op: OpList})
		if err == nil && !resp.OK {
			err = errors.New(resp.Error)
		}
		answered <- err
	}()
	<-entered
	closed := make(chan struct{})
	go func() {
		server.Close()
		close(closed)
	}()
	_ = idle.SetDeadline(time.Now().Add(5 * time.Second))
	if n, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("idle connection: %d bytes, %v, want its end", n, err)
	}
	close(proceed)
	if err := <-answered; err != nil {
		t.Errorf("request at work: %v", err)
	}
	<-closed
}

func TestCallEndsWithItsContext(t *testing.T) {
	proceed := make(chan struct{})
	path, _ := serve(t, func(Request) Response { <-proceed; return Done() })
	defer close(proceed)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := Call(ctx, path, Request{Op: OpList})
	if !errors.Is(err, context.DeadlineExceeded) || Dead(err) {
		t.Fatalf("error %v, want a deadline", err)
	}
}

func TestDeadDaemonIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.sock")
	if _, err := Call(within(t), path, Request{Op: OpList}); !Dead(err) {
		t.Errorf("no socket: %v, want a dead daemon", err)
	}
	abandon(t, path)
	if _, err := Call(within(t), path, Request{Op: OpList}); !Dead(err) {
		t.Errorf("socket of a killed daemon: %v, want a dead daemon", err)
	}
}

// A daemon that ends before it answers is dead, however far it came.
func TestDaemonThatEndsWithoutAnAnswerIsDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, before := range map[string]func(net.Conn){
		"before the request": func(net.Conn) {},
		"after the request":  func(c net.Conn) { _, _ = bufio.NewReader(c).ReadBytes('\n') },
		"in its answer":      func(c net.Conn) { _, _ = io.WriteString(c, `{"version":`) },
	} {
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			before(conn)
			conn.Close()
		}()
		if resp, err := Call(within(t), path, Request{Op: OpList}); !Dead(err) {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
	}
}

// abandon leaves a socket behind as a killed process does.
func abandon(t *testing.T, path string) {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
}

package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// running is a daemon at work on a socket of its own.
type running struct {
	t       *testing.T
	links   *standInLinks
	path    string
	starter net.Conn // the starter's end of the first connection
	ended   chan error
	stop    context.CancelFunc
}

func run(t *testing.T, lasting bool) *running {
	t.Helper()
	r := &running{t: t, links: newStandIn(t), path: filepath.Join(t.TempDir(), "1.sock"), ended: make(chan error, 1)}
	l, err := control.Listen(r.path)
	if err != nil {
		t.Fatal(err)
	}
	var first net.Conn
	if !lasting {
		first, r.starter = net.Pipe()
		t.Cleanup(func() { r.starter.Close() })
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	t.Cleanup(stop)
	d := newDaemon(zap.NewNop(), links[*standInLink](r.links), lasting)
	go func() { r.ended <- d.run(ctx, l, first) }()
	return r
}

func (r *running) call(req control.Request) (control.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return control.Call(ctx, r.path, req)
}

func addRequest(name string) control.Request {
	return control.Request{Op: control.OpAdd, Link: &dataplane.LinkConfig{Name: name, VNI: 5, Port: 4789}}
}

func (r *running) must(req control.Request) control.Response {
	r.t.Helper()
	resp, err := r.call(req)
	if err != nil || !resp.OK {
		r.t.Fatalf("%s %s: %+v, %v", req.Op, req.Name, resp, err)
	}
	return resp
}

// mustEnd waits for the daemon's end and checks that it left nothing.
func (r *running) mustEnd() {
	r.t.Helper()
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		r.t.Fatal("the daemon does not end")
	}
	select {
	case <-r.links.closed:
	default:
		r.t.Error("ended without removing its links")
	}
	if _, err := os.Stat(r.path); !os.IsNotExist(err) {
		r.t.Errorf("the socket is left: %v", err)
	}
}

// mustLive checks that the daemon answers after everything that came before
// has been dealt with.
func (r *running) mustLive() {
	r.t.Helper()
	r.must(control.Request{Op: control.OpList})
	select {
	case err := <-r.ended:
		r.t.Fatalf("the daemon has ended: %v", err)
	default:
	}
}

func TestEndsAfterItsLastLink(t *testing.T) {
	r := run(t, false)
	r.must(addRequest("a"))
	r.must(addRequest("b"))
	r.must(control.Request{Op: control.OpDel, Name: "a"})
	r.mustLive()
	r.must(control.Request{Op: control.OpDel, Name: "b"})
	r.mustEnd()
}

func TestInTheForegroundOutlivesItsLastLink(t *testing.T) {
	r := run(t, true)
	r.must(addRequest("a"))
	if resp := r.must(control.Request{Op: control.OpDel, Name: "a"}); !resp.Lasting {
		t.Errorf("it does not say that it outlives its links: %+v", resp)
	}
	r.must(addRequest("b"))
	r.links.vanish("b")
	r.mustLive()
	r.stop()
	r.mustEnd()
}

func TestEndsWhenItsLastDeviceIsDeleted(t *testing.T) {
	r := run(t, false)
	r.must(addRequest("a"))
	r.must(addRequest("b"))
	r.links.vanish("a")
	r.mustLive()
	r.links.vanish("b")
	r.mustEnd()
}

// The answer says whether the daemon ends, because the starter waits for that.
func TestRefusalTellsWhetherTheDaemonEnds(t *testing.T) {
	s := newStandIn(t)
	d := newDaemon(zap.NewNop(), links[*standInLink](refusing{s}), false)
	if resp := d.handle(addRequest("a")); resp.OK || !resp.Ending || resp.Lasting {
		t.Errorf("without a link: %+v, want a refusal that ends", resp)
	}
	if resp := d.handle(addRequest("a")); resp.OK || !resp.Closing {
		t.Errorf("after its end was decided: %+v, want to be sent to a successor", resp)
	}
	if resp := d.handle(control.Request{Op: control.OpDel, Name: "a"}); resp.OK || !resp.Closing {
		t.Errorf("deletion after its end was decided: %+v", resp)
	}

	d = newDaemon(zap.NewNop(), links[*standInLink](s), false)
	if resp := d.handle(addRequest("a")); !resp.OK {
		t.Fatalf("%+v", resp)
	}
	if resp := d.handle(addRequest("a")); resp.OK || resp.Ending || resp.Error != errTaken.Error() {
		t.Errorf("beside a link: %+v, want a refusal that does not end", resp)
	}
}

// refusing is a dataplane on which no link can be had.
type refusing struct{ *standInLinks }

func (refusing) AddLink(dataplane.LinkConfig) (*standInLink, error) { return nil, errTaken }

func TestStarterThatGivesUpEndsTheDaemon(t *testing.T) {
	r := run(t, false)
	r.starter.Close()
	r.mustEnd()
}

func TestStarterMayLeaveOnceThereIsALink(t *testing.T) {
	r := run(t, false)
	conn := control.NewConn(r.starter)
	if resp, err := conn.Call(context.Background(), addRequest("a")); err != nil || !resp.OK {
		t.Fatalf("%+v, %v", resp, err)
	}
	conn.Close()
	r.mustLive()
	r.must(control.Request{Op: control.OpDel, Name: "a"})
	r.mustEnd()
}

func TestSignalRemovesTheLinks(t *testing.T) {
	r := run(t, false)
	r.must(addRequest("a"))
	r.stop()
	r.mustEnd()
}

func TestTellsLinksAndFigures(t *testing.T) {
	r := run(t, true)
	r.must(addRequest("a"))
	r.must(addRequest("b"))
	got := r.must(control.Request{Op: control.OpList}).Links
	if len(got) != 2 || got[1].Info.Name != "b" || got[1].Info.Index != 3 || got[1].Stats != nil {
		t.Errorf("list: %+v", got)
	}
	got = r.must(control.Request{Op: control.OpStats}).Links
	if len(got) != 2 || got[0].Info.Name != "a" || got[0].Stats == nil || got[0].Stats.RxPackets != 9 {
		t.Errorf("stats: %+v", got)
	}
}

func TestRefusesUnknownRequests(t *testing.T) {
	r := run(t, true)
	resp, err := r.call(control.Request{Op: "fly"})
	if err != nil || resp.OK || !resp.Usage || !strings.Contains(resp.Error, `"fly"`) || !strings.Contains(resp.Error, "add, del, set, list, stats") {
		t.Errorf("%+v, %v", resp, err)
	}
}

// Many clients at once: the stand-in fails the test when two changes overlap.
func TestChangesComeOneAtATime(t *testing.T) {
	r := run(t, true)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			name := fmt.Sprintf("l%d", i)
			for _, req := range []control.Request{addRequest(name), {Op: control.OpDel, Name: name}, addRequest(name)} {
				if resp, err := r.call(req); err != nil || !resp.OK {
					t.Errorf("%s %s: %+v, %v", req.Op, name, resp, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(r.must(control.Request{Op: control.OpList}).Links); n != 16 {
		t.Errorf("%d links, want 16", n)
	}
}

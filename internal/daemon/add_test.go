package daemon

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/control"
)

// answering is a run directory with a daemon for namespace 1 that gives one
// answer to everything. Its lock is held.
func answering(t *testing.T, resp control.Response) control.RunDir {
	t.Helper()
	dir := control.RunDir(t.TempDir())
	owned, err := takeLock(dir.Lock(1))
	if err != nil {
		t.Fatal(err)
	}
	owned.sign()
	l, err := control.Listen(dir.Socket(1))
	if err != nil {
		t.Fatal(err)
	}
	server := control.NewServer(func(*control.Exchange) control.Response { return resp })
	go server.Serve(l)
	t.Cleanup(func() {
		l.Close()
		server.Close()
		owned.release(dir.Lock(1))
	})
	return dir
}

func TestAddTakesTheAnswerOfTheDaemonThatIsThere(t *testing.T) {
	for _, want := range []control.Response{control.Done(), control.Failed(errTaken), control.Malformed(errTaken)} {
		dir := answering(t, want)
		resp, err := addOnce(context.Background(), dir, 1, addRequest("a"))
		if err != nil || resp.OK != want.OK || resp.Error != want.Error || resp.Usage != want.Usage {
			t.Errorf("%+v, %v, want %+v", resp, err, want)
		}
	}
}

// A daemon that has its lock but no answer is about to listen, or to end:
// neither is a reason to start another, nor to fail.
func TestAddWaitsForADaemonOnItsWay(t *testing.T) {
	dir := answering(t, closing())
	if resp, err := addOnce(context.Background(), dir, 1, addRequest("a")); !errors.Is(err, errHeld) {
		t.Errorf("on its way out: %+v, %v, want to look again", resp, err)
	}
	dir = answering(t, control.Done())
	if err := os.Remove(dir.Socket(1)); err != nil {
		t.Fatal(err)
	}
	if resp, err := addOnce(context.Background(), dir, 1, addRequest("a")); !errors.Is(err, errHeld) {
		t.Errorf("on its way in: %+v, %v, want to look again", resp, err)
	}
}

func TestAddNamesTheDaemonThatDoesNotAnswer(t *testing.T) {
	netns, err := control.NetNS()
	if err != nil {
		t.Fatal(err)
	}
	dir := control.RunDir(t.TempDir())
	owned, err := takeLock(dir.Lock(netns))
	if err != nil {
		t.Fatal(err)
	}
	defer owned.release(dir.Lock(netns))
	owned.sign()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = Add(ctx, dir, *addRequest("a").Link)
	if err == nil || !strings.Contains(err.Error(), "process "+holder(dir.Lock(netns))) {
		t.Errorf("error %v", err)
	}
}

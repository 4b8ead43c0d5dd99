package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/control"
)

func TestNamesOfNewFiles(t *testing.T) {
	dir := t.TempDir()
	c, err := newDirChanges(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for range 2 { // the second changes nothing
		if err := c.extend(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go c.read(ctx)
	want := []string{"4026531840.sock", "a", "sixteen-and-more"}
	for _, name := range want {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for len(got) < len(want) {
		got = append(got, <-c.names...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What becomes of a socket depends on how it ended and on whether its file was
// made anew, in whichever order the two are heard of.
func TestSocketsThatAreTakenUpAgain(t *testing.T) {
	dir := control.RunDir("/run/weft")
	socket := dir.Socket(1)
	for _, c := range []struct {
		name         string
		heard        heard
		anew, before bool // the file was made anew, before the end was heard of
		again        bool
	}{
		{name: "ended", heard: ended, again: true},
		{name: "nobody", heard: nobody},
		{name: "refused", heard: refused},
		{name: "nobody, then anew", heard: nobody, anew: true, again: true},
		{name: "anew, then nobody", heard: nobody, anew: true, before: true, again: true},
		{name: "refused, then anew", heard: refused, anew: true, again: true},
		{name: "ended and anew", heard: ended, anew: true, before: true, again: true},
	} {
		w := daemonWatch{
			follow:  func(context.Context, string) heard { return c.heard },
			sockets: map[string]socketState{socket: followed}, running: 1, ended: make(chan follower, 1),
		}
		if c.anew && c.before {
			w.revive(dir, []string{"1.sock", "2.sock"})
		}
		w.settle(follower{socket, c.heard})
		if c.anew && !c.before {
			w.revive(dir, []string{"1.sock", "2.sock"})
		}
		if _, known := w.sockets[socket]; known == c.again || w.running != 0 {
			t.Errorf("%s: %v, %d running", c.name, w.sockets, w.running)
		}
	}
}

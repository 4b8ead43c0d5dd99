package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/lab"
)

// stats returns a link's figures, straight from its daemon: tests look at them so
// often that a process for each time would be most of their work. A link that no
// daemon knows by its name is left to the command, as what is to be said of it.
func (w *weft) stats(name string) dataplane.Stats {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), daemonLimit)
	defer cancel()
	for _, socket := range w.sockets() {
		answer, err := control.Call(ctx, socket, control.Request{Op: control.OpStats})
		if err != nil {
			break
		}
		for _, l := range answer.Links {
			if l.Info.Name == name && l.Stats != nil {
				l.Stats.Name = name
				return *l.Stats
			}
		}
	}
	return w.statsShown(name)
}

// daemonLimit is how long a daemon may take to answer.
const daemonLimit = 30 * time.Second

// statsShown is what the command tells of them.
func (w *weft) statsShown(name string) dataplane.Stats {
	w.t.Helper()
	var s dataplane.Stats
	if err := json.Unmarshal([]byte(w.must("stats", name, "-j")), &s); err != nil {
		w.t.Fatalf("weft stats %s -j: %v", name, err)
	}
	return s
}

// shown is the part of `weft link show -j` that tests look at.
type shown struct {
	Name    string            `json:"ifname"`
	MTU     int               `json:"mtu"`
	Address string            `json:"address"`
	Offload map[string]string `json:"offload"`
}

// links lists the links that are in the host's namespace.
func (w *weft) links() []shown {
	w.t.Helper()
	out := w.run("link", "show", "-j")
	var all []shown
	if out.Status != 0 {
		w.t.Fatalf("weft link show -j: status %d: %s", out.Status, out.Stderr)
	}
	if err := json.Unmarshal([]byte(out.Stdout), &all); err != nil {
		w.t.Fatalf("weft link show -j: %v: %q", err, out.Stdout)
	}
	return all
}

// names are those of the links, if any daemon runs.
func (w *weft) names() (names []string) {
	if len(w.sockets()) == 0 {
		return nil
	}
	for _, l := range w.links() {
		names = append(names, l.Name)
	}
	return names
}

// drops waits until a link has counted n drops for a reason since before was
// taken, and checks that no other reason moved.
func (w *weft) drops(before dataplane.Stats, reason string, n uint64) dataplane.Stats {
	w.t.Helper()
	var now dataplane.Stats
	err := lab.Eventually(5*time.Second, func() error {
		now = w.stats(before.Name)
		if got := now.Drops[reason] - before.Drops[reason]; got != n {
			return fmt.Errorf("%s: %d dropped, %d wanted", reason, got, n)
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
	for other, count := range now.Drops {
		if other != reason && count != before.Drops[other] {
			w.t.Errorf("%s: %d more dropped for another reason, %s", reason, count-before.Drops[other], other)
		}
	}
	return now
}

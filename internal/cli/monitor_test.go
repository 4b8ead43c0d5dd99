package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// The lines are those of `bridge monitor fdb` and `ip monitor neigh`
// (iproute2 6.1) for a kernel device.
func TestEventLines(t *testing.T) {
	l := vx0(42)
	entry := dataplane.FDBEntry{MAC: mac("02:00:00:00:0c:06"), Dst: ip("10.99.0.2"), Port: 4789, VNI: 5, Used: 9, Updated: 9}
	other := dataplane.FDBEntry{MAC: mac("02:00:00:00:0c:04"), Dst: ip("10.99.0.2"), Port: 9999, VNI: 777, Via: "rv0", State: "permanent", Router: true, ExternLearn: true}
	aged := entry
	aged.State = "stale"
	for _, c := range []struct {
		event      dataplane.FDBEvent
		text, json string
	}{
		{
			dataplane.FDBEvent{Kind: dataplane.EventNew, Entry: entry},
			"02:00:00:00:0c:06 dev vx0 dst 10.99.0.2 self \n",
			`{"mac":"02:00:00:00:0c:06","ifname":"vx0","dst":"10.99.0.2","flags":["self"],"state":""}`,
		},
		{
			dataplane.FDBEvent{Kind: dataplane.EventDeleted, Entry: aged},
			"Deleted 02:00:00:00:0c:06 dev vx0 dst 10.99.0.2 self stale\n",
			`{"deleted":true,"mac":"02:00:00:00:0c:06","ifname":"vx0","dst":"10.99.0.2","flags":["self"],"state":"stale"}`,
		},
		{
			dataplane.FDBEvent{Kind: dataplane.EventDeleted, Entry: other},
			"Deleted 02:00:00:00:0c:04 dev vx0 dst 10.99.0.2 port 9999 vni 777 via rv0 self router extern_learn permanent\n",
			`{"deleted":true,"mac":"02:00:00:00:0c:04","ifname":"vx0","dst":"10.99.0.2","port":9999,"vni":777,"viaIf":"rv0","flags":["self","router","extern_learn"],"state":"permanent"}`,
		},
		{
			dataplane.FDBEvent{Kind: dataplane.EventMiss, Entry: dataplane.FDBEntry{MAC: mac("02:00:00:00:00:99")}},
			"miss dev vx0 lladdr 02:00:00:00:00:99 STALE \n",
			`{"miss":true,"dev":"vx0","lladdr":"02:00:00:00:00:99","state":["STALE"]}`,
		},
		{
			dataplane.FDBEvent{Kind: dataplane.EventIPMiss, Address: ip("fe80::94fb:6aff:fef1:55b")},
			"miss fe80::94fb:6aff:fef1:55b dev vx0 STALE \n",
			`{"miss":true,"dst":"fe80::94fb:6aff:fef1:55b","dev":"vx0","state":["STALE"]}`,
		},
		{dataplane.FDBEvent{Kind: dataplane.EventLost, Lost: 3}, "", `{"lost":3}`},
	} {
		c.event.Link = "vx0"
		text, err := (&eventPrinter{}).text(&l, &c.event)
		if err != nil || string(text) != c.text {
			t.Errorf("%v\ngot  %q\nwant %q", err, text, c.text)
		}
		text, err = (&eventPrinter{json: true}).text(&l, &c.event)
		if err != nil || string(text) != c.json+"\n" {
			t.Errorf("%v\ngot  %s\nwant %s", err, text, c.json)
		}
	}
}

// lineWriter hands on what is written, which must be one line each time.
type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

// teller answers for a daemon that has one link, lo, and tells events.
type teller struct {
	link   control.Link
	events chan dataplane.FDBEvent
}

func newTeller(t *testing.T) teller {
	return teller{loopback(t), make(chan dataplane.FDBEvent)}
}

func (d *teller) handle(x *control.Exchange) control.Response {
	if x.Op != control.OpMonitor {
		return control.Done(d.link)
	}
	for {
		select {
		case e := <-d.events:
			x.Send(control.Response{Version: control.Version, Events: []dataplane.FDBEvent{e}})
		case <-x.HungUp():
			return control.Done()
		}
	}
}

// tell tells of an address that is new behind lo, by the last byte.
func (d *teller) tell(n byte) {
	e := dataplane.FDBEvent{Kind: dataplane.EventNew, Link: "lo", NetNS: d.link.Info.NetNS, Index: d.link.Info.Index}
	e.Entry = dataplane.FDBEntry{MAC: mac("02:00:00:00:00:00"), Dst: ip("10.99.0.2"), Port: 4789, VNI: 5}
	e.Entry.MAC[5] = n
	d.events <- e
}

// startMonitor runs a monitor in the test's run directory until the test ends.
func startMonitor(t *testing.T, dev string) (lines, complaints lineWriter) {
	t.Helper()
	lines, complaints = make(lineWriter), make(lineWriter, 9)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- (&app{out: lines, err: complaints}).monitor(ctx, dev) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("monitor: %v", err)
		}
	})
	return lines, complaints
}

func wantLine(t *testing.T, lines lineWriter, want string) {
	t.Helper()
	if got := <-lines; got != want+"\n" {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMonitorTellsOfLinksOfThisNamespace(t *testing.T) {
	d := newTeller(t)
	standIn(t, d.handle)
	lines, _ := startMonitor(t, "lo")
	d.tell(1)
	wantLine(t, lines, "02:00:00:00:00:01 dev lo dst 10.99.0.2 self ")
	foreign := dataplane.FDBEvent{Kind: dataplane.EventNew, Link: "lo", NetNS: d.link.Info.NetNS, Index: d.link.Info.Index}
	foreign.Entry = dataplane.FDBEntry{MAC: mac("02:00:00:00:00:07"), Dst: ip("10.99.0.2"), Port: 9999, VNI: 6}
	d.events <- foreign
	wantLine(t, lines, "02:00:00:00:00:07 dev lo dst 10.99.0.2 port 9999 vni 6 self ")
	elsewhere := dataplane.FDBEvent{Kind: dataplane.EventNew, Link: "lo", NetNS: 1, Index: d.link.Info.Index}
	d.events <- elsewhere
	another := elsewhere
	another.NetNS, another.Index = d.link.Info.NetNS, 9999
	d.events <- another
	d.tell(2)
	wantLine(t, lines, "02:00:00:00:00:02 dev lo dst 10.99.0.2 self ")
}

func TestMonitorOfALinkThatIsNotThere(t *testing.T) {
	d := newTeller(t)
	standIn(t, d.handle)
	if status, _, stderr := weft(t, "monitor", "dev", "nosuch"); status != failed || !strings.Contains(stderr, `no link "nosuch"`) {
		t.Errorf("status %d, %q", status, stderr)
	}
}

// Daemons come and go, and so does the run directory; the monitor stays.
func TestMonitorFindsDaemonsThatCome(t *testing.T) {
	base := t.TempDir()
	t.Setenv(control.EnvRunDir, filepath.Join(base, "not", "there", "yet"))
	dir, err := control.RunDirFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	lines, complaints := startMonitor(t, "")
	first, second := newTeller(t), newTeller(t)
	end := serveAt(t, dir.Socket(1), first.handle)
	first.tell(1) // waits until somebody listens
	wantLine(t, lines, "02:00:00:00:00:01 dev lo dst 10.99.0.2 link-netnsid 0 self ")
	serveAt(t, dir.Socket(2), second.handle)
	second.tell(2)
	wantLine(t, lines, "02:00:00:00:00:02 dev lo dst 10.99.0.2 link-netnsid 0 self ")

	end()
	second.tell(3)
	wantLine(t, lines, "02:00:00:00:00:03 dev lo dst 10.99.0.2 link-netnsid 0 self ")
	serveAt(t, dir.Socket(1), first.handle)
	first.tell(4)
	wantLine(t, lines, "02:00:00:00:00:04 dev lo dst 10.99.0.2 link-netnsid 0 self ")
	if len(complaints) > 0 {
		t.Errorf("complaint: %s", <-complaints)
	}
}

// A file that a killed daemon left is asked for a while, and then again when
// it is made anew.
func TestMonitorOfAKilledDaemonsSocket(t *testing.T) {
	t.Setenv(control.EnvRunDir, t.TempDir())
	dir, err := control.RunDirFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(dir.Socket(1))
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	lines, _ := startMonitor(t, "")
	d := newTeller(t)
	serveAt(t, dir.Socket(1), d.handle)
	d.tell(1)
	wantLine(t, lines, "02:00:00:00:00:01 dev lo dst 10.99.0.2 link-netnsid 0 self ")
}

// Somebody who refuses is asked once, and said so.
func TestMonitorIsRefused(t *testing.T) {
	t.Setenv(control.EnvRunDir, t.TempDir())
	dir, err := control.RunDirFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan bool, 9)
	serveAt(t, dir.Socket(1), func(*control.Exchange) control.Response {
		asked <- true
		return control.Failed(errors.New("it is an old one"))
	})
	lines, complaints := startMonitor(t, "")
	if got := <-complaints; !strings.Contains(got, "it is an old one") {
		t.Errorf("complaint: %s", got)
	}
	d := newTeller(t)
	serveAt(t, dir.Socket(2), d.handle)
	d.tell(1)
	<-lines
	if len(asked) != 1 || len(complaints) != 0 {
		t.Errorf("asked %d times, %d more complaints", len(asked), len(complaints))
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestMonitorEndsWhenNobodyReads(t *testing.T) {
	d := newTeller(t)
	standIn(t, d.handle)
	ended := make(chan error)
	go func() { ended <- (&app{out: brokenPipe{}, err: io.Discard}).monitor(context.Background(), "") }()
	d.tell(1)
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
}

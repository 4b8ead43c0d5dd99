package extension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/flannel/store"
	"github.com/weftnet/weft/internal/lab"
)

const soon = 20 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ip(s string) netip.Addr       { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// stage is a node whose commands are scripts that write down what they got.
type stage struct {
	*testing.T
	dir  string
	node backend.Node
	cfg  *netconf.Config
	logs *observer.ObservedLogs
	*extension
	heard int // bytes of what the scripts wrote
}

// scripts write their name, standard input and variables to the file said, and
// obey files beside them: name.fails has what they say when they fail.
const script = `#!/bin/sh
cd "$(dirname "$0")"
name=$(basename "$0")
read -r data
echo "$name <$data> $* N=$NETWORK S=$SUBNET P=$PUBLIC_IP S6=$IPV6SUBNET P6=$PUBLIC_IPV6" >>said
echo "to stderr" >&2
if [ -e "$name.fails" ]; then cat "$name.fails" >&2; exit 3; fi
if [ -e "$name.prints" ]; then cat "$name.prints"; fi
`

func newStage(t *testing.T, change ...func(*netconf.Extension)) *stage {
	t.Helper()
	s := &stage{T: t, dir: t.TempDir()}
	t.Setenv(control.EnvRunDir, filepath.Join(t.TempDir(), "run"))
	for _, name := range []string{"pre", "post", "add", "del"} {
		check(t, os.WriteFile(filepath.Join(s.dir, name), []byte(script), 0o755))
	}
	commands := map[string]string{
		"Type": "extension", "PreStartupCommand": s.dir + "/pre", "PostStartupCommand": s.dir + "/post",
		"SubnetAddCommand": s.dir + "/add via $PUBLIC_IP", "SubnetRemoveCommand": s.dir + "/del",
	}
	text, err := json.Marshal(map[string]any{
		"Network": "10.50.0.0/16", "EnableIPv6": true, "IPv6Network": "fd50::/48", "Backend": commands,
	})
	check(t, err)
	s.cfg, err = netconf.Parse(text)
	check(t, err)
	for _, f := range change {
		f(s.cfg.Backend.(*netconf.Extension))
	}
	s.node = backend.Node{
		Interface: "eth0", MTU: 1400,
		Addr: ip("10.4.7.1"), Public: ip("192.0.2.1"), Addr6: ip("fd04::1"), Public6: ip("2001:db8::1"),
	}
	s.another()
	return s
}

// another is another process in the place of the one before.
func (s *stage) another() {
	core, logs := observer.New(zapcore.DebugLevel)
	s.logs = logs
	s.extension = New(s.node, s.cfg, zap.New(core)).(*extension)
}

// said returns the lines that the scripts wrote since the last call. One that is
// being written is for the next.
func (s *stage) said() (lines []string) {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "said"))
	if !errors.Is(err, os.ErrNotExist) {
		check(s.T, err)
	}
	for line := range strings.Lines(string(text[min(s.heard, len(text)):])) {
		if whole, ended := strings.CutSuffix(line, "\n"); ended {
			lines, s.heard = append(lines, whole), s.heard+len(line)
		}
	}
	return lines
}

func (s *stage) want(lines ...string) {
	s.Helper()
	if got := s.said(); !slices.Equal(got, lines) {
		s.Errorf("commands:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

// obey writes a file that a script obeys; "" takes it away.
func (s *stage) obey(name, text string) {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if text == "" {
		check(s.T, os.Remove(path))
		return
	}
	check(s.T, os.WriteFile(path, []byte(text), 0o600))
}

// peerLease is one of a node with a number.
func peerLease(number int, data string) lease.Lease {
	n := fmt.Sprint(number)
	l := lease.Lease{
		Subnet: lease.Subnet{IPv4: prefix("10.50." + n + ".0/24"), IPv6: prefix("fd50:0:0:" + n + "::/64")},
		Record: lease.Record{PublicIP: ip("10.4.7." + n), PublicIPv6: ip("fd04::" + n), BackendType: netconf.TypeExtension},
	}
	if data != "" {
		l.BackendData = json.RawMessage(data)
	}
	return l
}

// line is what a script writes of such a lease.
func line(name string, number int, data string) string {
	args := ""
	if name == "add" {
		args = fmt.Sprintf("via 10.4.7.%d", number)
	}
	return fmt.Sprintf("%s <%s> %s N=10.50.0.0/16 S=10.50.%d.0/24 P=10.4.7.%d S6=fd50:0:0:%d::/64 P6=fd04::%d", name, data, args, number, number, number, number)
}

var background = context.Background()

func TestStartUp(t *testing.T) {
	s := newStage(t)
	s.obey("pre.prints", "\n  c6:d2:32:6f:8f:44 <&>\n\n")
	rec, err := s.Prepare(background)
	check(t, err)
	value, err := rec.Encode()
	check(t, err)
	// What flannel would write; what the command said on stderr is not in it.
	want := `{"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1","BackendType":"extension","BackendData":"c6:d2:32:6f:8f:44 \u003c\u0026\u003e"}`
	if string(value) != want {
		t.Errorf("the lease says\n%s, want\n%s", value, want)
	}
	s.want("pre <>  N= S= P= S6= P6=")
	own := peerLease(1, "")
	own.PublicIP, own.PublicIPv6 = s.node.Public, s.node.Public6
	mtu, err := s.Start(background, own)
	if mtu != 1400 || err != nil {
		t.Errorf("Start: %d, %v", mtu, err)
	}
	s.want("post <>  N=10.50.0.0/16 S=10.50.1.0/24 P=192.0.2.1 S6=fd50:0:0:1::/64 P6=2001:db8::1")
}

func TestNoCommands(t *testing.T) {
	s := newStage(t, func(e *netconf.Extension) { *e = netconf.Extension{PreStartup: " \t"} })
	rec, err := s.Prepare(background)
	check(t, err)
	if rec.BackendData != nil {
		t.Errorf("BackendData %s without a PreStartupCommand", rec.BackendData)
	}
	_, err = s.Start(background, peerLease(1, ""))
	check(t, err)
	check(t, s.Reset(background, []lease.Lease{peerLease(5, "")}))
	check(t, s.Apply(background, []registry.Event{{Kind: registry.Removed, Lease: peerLease(5, "")}}))
	check(t, s.Cleanup(background))
	s.want()
}

func TestFailuresAtStart(t *testing.T) {
	s := newStage(t)
	s.obey("pre.fails", "RTNETLINK answers: Operation not permitted\n")
	_, err := s.Prepare(background)
	if err == nil || !strings.Contains(err.Error(), `PreStartupCommand "`+s.dir+`/pre": exit status 3: `) ||
		!strings.Contains(err.Error(), "RTNETLINK answers: Operation not permitted") {
		t.Errorf("error %v", err)
	}
	s.obey("post.fails", "no\n")
	if _, err = s.Start(background, peerLease(1, "")); err == nil || !strings.Contains(err.Error(), "PostStartupCommand") {
		t.Errorf("error %v", err)
	}
	for command, want := range map[string]string{
		"/no/such/program x":        "no such file or directory",
		"no-such-program":           "executable file not found in $PATH",
		"export VNI=1; ip link add": "; is for a shell",
		`"" x`:                      "exec: no command",
		"head -c 3000000 /dev/zero": "it printed more than 2 MB",
		"sh -c 'echo out; exit 1'":  "exit status 1: out",
		"sh -c 'echo secret; echo why>&2; kill -9 $$'": "signal: killed: why",
	} {
		s := newStage(t, func(e *netconf.Extension) { e.PreStartup = command })
		if _, err := s.Prepare(background); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", command, err, want)
		}
	}
}

// A subnet that is in the way of the node's own is not handed to the command, which
// would lead the packets of its containers away.
func TestPeerOverlaps(t *testing.T) {
	s := newStage(t)
	_, err := s.Prepare(background)
	check(t, err)
	own, over := peerLease(3, ""), peerLease(4, "")
	_, err = s.Start(background, own)
	check(t, err)
	s.said()
	over.IPv6 = own.IPv6
	err = s.Reset(background, []lease.Lease{over, peerLease(5, "")})
	if err == nil || !strings.Contains(err.Error(), "node 10.4.7.4: its subnet fd50:0:0:3::/64 overlaps with fd50:0:0:3::/64, this node's own") {
		t.Error(err)
	}
	if said := s.said(); len(said) != 1 || !strings.Contains(said[0], "S=10.50.5.0/24") {
		t.Errorf("%q", said)
	}
}

func TestPeersComeAndGo(t *testing.T) {
	s := newStage(t)
	other := peerLease(9, "")
	other.BackendType = netconf.TypeVXLAN
	ownOld := peerLease(8, "")
	ownOld.PublicIP = s.node.Public
	bad := peerLease(7, `{"VNI":1}`)
	err := s.Reset(background, []lease.Lease{other, peerLease(5, `"aa"`), bad, ownOld, peerLease(6, "")})
	if err == nil || !strings.Contains(err.Error(), "node 10.4.7.7 with 10.50.7.0/24 and fd50:0:0:7::/64: BackendData is to be a string") {
		t.Errorf("error %v", err)
	}
	s.want(line("add", 5, "aa"), line("add", 6, ""))
	check(t, s.Apply(background, []registry.Event{
		{Kind: registry.Added, Lease: peerLease(4, `"line 1\nline 2"`)},
		{Kind: registry.Changed, Lease: peerLease(5, `"bb"`), Old: peerLease(5, `"aa"`)},
		{Kind: registry.Removed, Lease: peerLease(6, "")},
		{Kind: registry.Removed, Lease: other},
	}))
	s.want(line("add", 4, "line 1"), line("del", 5, "aa"), line("add", 5, "bb"), line("del", 6, ""))

	// A node that changes to another backend, and one that comes from one.
	gone := peerLease(5, "")
	gone.BackendType = netconf.TypeHostGW
	check(t, s.Apply(background, []registry.Event{
		{Kind: registry.Changed, Lease: gone, Old: peerLease(5, `"bb"`)},
		{Kind: registry.Changed, Lease: peerLease(9, ""), Old: other},
	}))
	s.want(line("del", 5, "bb"), line("add", 9, ""))
	check(t, s.Cleanup(background))
	got := s.said()
	slices.Sort(got)
	if !slices.Equal(got, []string{line("del", 9, ""), line("del", 4, "line 1")}) {
		t.Errorf("Cleanup ran %q", got)
	}
	if left, _ := filepath.Glob(os.Getenv(control.EnvRunDir) + "/*"); len(left) > 0 {
		t.Errorf("Cleanup leaves %q", left)
	}
}

// A peer whose command fails is named, does not keep the others from being
// served, and is tried again.
func TestFailedPeerIsTriedAgain(t *testing.T) {
	retriesWere := retries
	retries = store.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}
	t.Cleanup(func() { retries = retriesWere })
	s := newStage(t)
	s.obey("add.fails", "RTNETLINK answers: Network is unreachable\n")
	err := s.Reset(background, []lease.Lease{peerLease(5, ""), peerLease(6, "")})
	for _, n := range []string{"5", "6"} {
		want := "extension: node 10.4.7." + n + " with 10.50." + n + ".0/24: SubnetAddCommand"
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Network is unreachable") {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	s.want(line("add", 5, ""), line("add", 6, ""))
	check(t, s.Apply(background, []registry.Event{{Kind: registry.Removed, Lease: peerLease(6, "")}}))
	s.want() // there is nothing to remove
	ctx, cancel := context.WithCancel(background)
	ended := make(chan error, 1)
	go func() { ended <- s.extension.Run(ctx) }()
	tries := 0
	check(t, lab.Eventually(soon, func() error {
		for _, l := range s.said() {
			if l != line("add", 5, "") {
				t.Errorf("it ran %s", l)
			}
			tries++
		}
		if tries < 4 {
			return fmt.Errorf("the command was tried %d times", tries)
		}
		return nil
	}))
	if n := s.logs.FilterMessageSnippet("failed again").Len(); n != 1 {
		t.Errorf("told %d times of one trouble", n)
	}
	s.obey("add.fails", "")
	check(t, lab.Eventually(soon, func() error {
		if n := len(s.logs.FilterMessageSnippet("node was added").All()); n != 1 {
			return fmt.Errorf("%d nodes were added", n)
		}
		return nil
	}))
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}

// The next process adds all again, takes a refusal for what it is, and removes
// what is gone.
func TestAnotherProcess(t *testing.T) {
	s := newStage(t)
	check(t, s.Reset(background, []lease.Lease{peerLease(5, `"aa"`), peerLease(6, ""), peerLease(7, "")}))
	s.said()
	s.another()
	s.obey("add.fails", "RTNETLINK answers: File exists\n")
	err := s.Reset(background, []lease.Lease{peerLease(5, `"aa"`), peerLease(7, `"new"`), peerLease(8, "")})
	got := s.said()
	want := []string{line("add", 5, "aa"), line("del", 7, ""), line("add", 7, "new"), line("add", 8, ""), line("del", 6, "")}
	if !slices.Equal(got, want) {
		t.Errorf("commands\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err == nil || strings.Contains(err.Error(), "10.50.5.0/24") || !strings.Contains(err.Error(), "10.50.7.0/24") || !strings.Contains(err.Error(), "10.50.8.0/24") {
		t.Errorf("error %v", err)
	}
	if s.logs.FilterMessageSnippet("added by a former process").Len() != 1 {
		t.Error("the log does not tell of the refusal")
	}
	// A third one that knows nothing of the network but its config.
	s.another()
	check(t, s.Cleanup(background))
	s.want(line("del", 5, "aa"))
}

// A ledger that somebody has spoilt costs what it knew, and nothing else.
func TestSpoiltLedger(t *testing.T) {
	s := newStage(t)
	check(t, s.Reset(background, []lease.Lease{peerLease(5, "")}))
	files, err := filepath.Glob(os.Getenv(control.EnvRunDir) + "/*.json")
	check(t, err)
	if len(files) != 1 {
		t.Fatalf("ledgers %q", files)
	}
	check(t, os.WriteFile(files[0], []byte("{"), 0o600))
	s.said()
	s.another()
	check(t, s.Reset(background, []lease.Lease{peerLease(6, "")}))
	s.want(line("add", 6, ""))
	if s.logs.FilterMessageSnippet("is not known").Len() != 1 {
		t.Error("the log does not tell of it")
	}
}

// A ledger of a namespace that is gone tells of what went with it: no command is run
// for that. By one that does not say of which it is, as those of an older version, a
// node goes.
func TestLedgerOfGoneNamespace(t *testing.T) {
	lab.NeedLinux(t, 5, 14, "the cookie of a network namespace")
	s := newStage(t)
	next := func(change uint64, peer lease.Lease, told int, want ...string) {
		t.Helper()
		s.said()
		s.ledger.cookie = change
		check(t, s.ledger.write())
		s.another()
		check(t, s.Reset(background, []lease.Lease{peer}))
		s.want(want...)
		if n := s.logs.FilterMessageSnippet("is not known").Len(); n != told {
			t.Errorf("the log tells of it %d times, want %d", n, told)
		}
	}
	check(t, s.Reset(background, []lease.Lease{peerLease(5, "")}))
	next(s.ledger.cookie+1, peerLease(6, ""), 1, line("add", 6, ""))
	next(s.ledger.cookie, peerLease(7, ""), 0, line("add", 7, ""), line("del", 6, ""))
	next(0, peerLease(8, ""), 0, line("add", 8, ""), line("del", 7, ""))
}

// A command that hangs is ended with all that it started.
func TestHangingCommand(t *testing.T) {
	s := newStage(t, func(e *netconf.Extension) {
		e.SubnetAdd = `sh -c 'trap "" TERM; echo began >&2; sleep 1000 & echo $! >"$DIR/child"; wait'`
	})
	t.Setenv("DIR", s.dir)
	s.subnetAdd.limit = 200 * time.Millisecond
	err := s.Reset(background, []lease.Lease{peerLease(5, "")})
	if err == nil || !strings.Contains(err.Error(), "it did not end within 200ms: began") {
		t.Errorf("error %v", err)
	}
	s.wantChildGone()

	s.subnetAdd.limit = time.Hour
	check(t, os.Remove(filepath.Join(s.dir, "child")))
	ctx, cancel := context.WithCancel(background)
	ended := make(chan error, 1)
	go func() { ended <- s.Reset(ctx, []lease.Lease{peerLease(5, "")}) }()
	check(t, lab.Eventually(soon, func() error { _, err := os.ReadFile(filepath.Join(s.dir, "child")); return err }))
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a command that was broken off", err)
	}
	s.wantChildGone()
}

// It is told to end first, and may put things right.
func TestHangingCommandMayCleanUp(t *testing.T) {
	s := newStage(t, func(e *netconf.Extension) {
		e.SubnetAdd = `sh -c 'trap "echo cleaned >&2; exit 1" TERM; sleep 1000 & wait'`
	})
	s.subnetAdd.limit = 200 * time.Millisecond
	err := s.Reset(background, []lease.Lease{peerLease(5, "")})
	if err == nil || !strings.Contains(err.Error(), "it did not end within 200ms: cleaned") {
		t.Errorf("error %v", err)
	}
}

func (s *stage) wantChildGone() {
	s.Helper()
	check(s.T, lab.Eventually(soon, func() error {
		text, err := os.ReadFile(filepath.Join(s.dir, "child"))
		if err != nil {
			return err
		}
		pid := 0
		if _, err := fmt.Sscan(string(text), &pid); err != nil {
			return err
		}
		if state := processState(pid); state != "" && state != "Z" {
			return fmt.Errorf("process %d is still there, in state %s", pid, state)
		}
		return nil
	}))
}

// processState is the letter of /proc, "" of a process that is gone.
func processState(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	after := string(text[strings.LastIndexByte(string(text), ')')+1:])
	return strings.Fields(after)[0]
}

// A command may leave a process behind, as those that start servers do.
func TestCommandThatLeavesAProcess(t *testing.T) {
	s := newStage(t, func(e *netconf.Extension) { e.PreStartup = `sh -c 'sleep 1000 & echo $!; echo $! >"$DIR/child"'` })
	t.Setenv("DIR", s.dir)
	rec, err := s.Prepare(background)
	check(t, err)
	pid := 0
	_, err = fmt.Sscanf(string(rec.BackendData), `"%d"`, &pid)
	check(t, err)
	if processState(pid) == "" {
		t.Error("the process that the command left is gone")
	}
	check(t, unix.Kill(pid, unix.SIGKILL))
}

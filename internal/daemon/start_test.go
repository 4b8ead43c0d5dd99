package daemon

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/control"
)

func TestTelling(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"last line":   {"2026 info serving\nweft: open the control socket: denied\n", "weft: open the control socket: denied"},
		"panic":       {"2026 info serving\npanic: boom\n\ngoroutine 1 [running]:\nmain.main()\n", "panic: boom"},
		"fatal error": {"fatal error: out of memory\n\nruntime stack:\n", "fatal error: out of memory"},
	} {
		if got := telling(c.log); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What is an agent's is not its daemon's.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"FLANNELD_ETCD_PASSWORD": "secret", "NOTIFY_SOCKET": "/run/notify", control.EnvRunDir: "relative", "WEFT_RCVBUF": "0",
	} {
		t.Setenv(name, value)
	}
	env := environment("/run/here")
	for _, v := range env {
		if strings.HasPrefix(v, "FLANNELD_") || strings.HasPrefix(v, "NOTIFY_SOCKET=") || v == control.EnvRunDir+"=relative" {
			t.Errorf("%s is passed on", v)
		}
	}
	for _, want := range []string{control.EnvRunDir + "=/run/here", "WEFT_RCVBUF=0"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is not in %q", want, env)
		}
	}
}

// Only what this start has written counts: the log is appended to.
func TestLastWordsAreTheDaemonsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.log")
	old := "panic: of last week\n"
	c := &child{log: path, logFrom: int64(len(old))}
	for text, want := range map[string]string{old: "said nothing", old + "weft: no\n": "weft: no; more is in " + path} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := c.lastWords().Error(); !strings.Contains(got, want) || strings.Contains(got, "last week") {
			t.Errorf("%q, want it to contain %q", got, want)
		}
	}
}

func TestEnvironmentHasTheRunDirectoryOnce(t *testing.T) {
	t.Setenv(control.EnvRunDir, "relative")
	t.Setenv("WEFT_TEST_KEPT", "1")
	env := environment("/abs/run")
	var got []string
	for _, v := range env {
		if strings.HasPrefix(v, control.EnvRunDir+"=") {
			got = append(got, v)
		}
	}
	if want := []string{control.EnvRunDir + "=/abs/run"}; !slices.Equal(got, want) || !slices.Contains(env, "WEFT_TEST_KEPT=1") {
		t.Errorf("%q in %q", got, env)
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	notify(zap.NewNop(), "READY=1")
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

func TestLogKnowsWhetherItIsWorthKeeping(t *testing.T) {
	var out bytes.Buffer
	var troubled atomic.Bool
	log := newLogger(&out, &troubled)
	log.Info("serving", zap.String("socket", "x"))
	if troubled.Load() {
		t.Error("a plain line counts as trouble")
	}
	log.Warn("receive buffer is small")
	if !troubled.Load() {
		t.Error("a warning does not count as trouble")
	}
	if lines := strings.Count(out.String(), "\n"); lines != 2 || !strings.Contains(out.String(), "warn\treceive buffer") {
		t.Errorf("log %q", out.String())
	}
}

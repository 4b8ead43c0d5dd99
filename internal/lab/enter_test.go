//go:build linux

package lab_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// envRole has this test binary, run again from a test, be something else than
// a run of all tests.
const envRole = "WEFT_LAB_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "no-namespaces":
		// The limit holds for the user namespace that this process is in.
		must(os.WriteFile("/proc/sys/user/max_net_namespaces", []byte("0"), 0))
	case "program":
		program()
	}
	lab.Main(m)
}

// program enters a world, starts a process by itself and one in a host, tells
// their ids, and waits for SIGTERM.
func program() {
	must(lab.Enter())
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	stray := exec.Command("sleep", "600")
	must(stray.Start())
	h, err := lab.NewHost("a")
	must(err)
	hosted, err := h.Spawn(nil, "sleep", "600")
	must(err)
	fmt.Printf("inside %d %d %d %s\n", os.Getpid(), stray.Process.Pid, hosted.Pid(), lab.RunDir())
	<-terms
	os.Exit(42)
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// outside prepares this binary to be run as if from outside of any world.
func outside(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Dir = "/"
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "WEFT_LAB_") && !strings.HasPrefix(e, "GOCOVERDIR=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, envRole+"="+role)
	return cmd
}

func TestWorldIsPrivate(t *testing.T) {
	dir := lab.RunDir()
	if dir == "" {
		t.Fatal("no run directory")
	}
	var st syscall.Statfs_t
	check(t, syscall.Statfs(dir, &st))
	const tmpfs = 0x01021994
	if st.Type != tmpfs {
		t.Errorf("%s is not a tmpfs", dir)
	}
	here, err := os.Readlink("/proc/self/ns/mnt")
	check(t, err)
	parent, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err == nil && parent == here {
		t.Error("the mount namespace is not private")
	}
	for _, l := range lab.Missing() {
		if l.What == "" || l.Why == nil || l.Remedy == "" {
			t.Errorf("a lack that does not say all: %+v", l)
		}
	}
}

// TestEnterPassesOn runs a program that enters a world, and looks at what
// passes the border: signals in, output and exit status out, nothing left.
func TestEnterPassesOn(t *testing.T) {
	p := startProgram(t)
	check(t, p.cmd.Process.Signal(syscall.SIGTERM))
	impatience := time.AfterFunc(waitLimit, func() { _ = p.cmd.Process.Kill() })
	err := p.cmd.Wait()
	impatience.Stop()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 42 {
		t.Errorf("ended with %v, want status 42", err)
	}
	for _, pid := range []int{p.inner, p.stray, p.hosted} {
		if running(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
}

// TestEnterDiesWithItsParent kills the outer process, which cannot pass that
// on, nor clean up: what the lab started must end all the same.
func TestEnterDiesWithItsParent(t *testing.T) {
	p := startProgram(t)
	check(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	check(t, lab.Eventually(waitLimit, func() error {
		if running(p.inner) || running(p.hosted) {
			return fmt.Errorf("process %d or %d is left", p.inner, p.hosted)
		}
		return nil
	}))
	check(t, syscall.Kill(p.stray, syscall.SIGKILL)) // exec.Command started it, not the lab
}

// entered is a program that runs inside a world, by the ids that it told.
type entered struct {
	cmd                  *exec.Cmd // outside
	inner, stray, hosted int
}

func startProgram(t *testing.T) entered {
	t.Helper()
	p := entered{cmd: outside("program")}
	stdout, err := p.cmd.StdoutPipe()
	check(t, err)
	check(t, p.cmd.Start())
	var dir string
	if _, err := fmt.Fscanf(stdout, "inside %d %d %d %s\n", &p.inner, &p.stray, &p.hosted, &dir); err != nil {
		t.Fatalf("reading what the program says: %v", err)
	}
	if p.inner == p.cmd.Process.Pid || !running(p.inner) || !running(p.stray) || !running(p.hosted) {
		t.Fatalf("not all is running: %+v", p)
	}
	return p
}

// running is false for zombies too.
func running(pid int) bool {
	_, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", "net"))
	return err == nil
}

// TestAnotherUser runs the kernel's control as a user without any rights.
func TestAnotherUser(t *testing.T) {
	if !isRealRoot(t) {
		t.Skip("only root can become another user; these tests ran as one already")
	}
	cmd := outside("", "-test.v", "-test.run=^(TestKernelToKernel|TestNeeds|TestRun|TestOffloads)$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if !strings.Contains(text, "--- PASS: TestKernelToKernel") {
		if !strings.Contains(text, "left out:") {
			t.Errorf("the control neither ran nor was left out:\n%s", text)
		}
		return
	}
	if st, err := os.Stat("/dev/net/tun"); err != nil || st.Mode().Perm()&6 != 0 {
		return
	}
	for _, want := range []string{"--- SKIP: TestNeeds", "left out:", "TestNeeds: /dev/net/tun: ", "permission denied", "run as root"} {
		if !strings.Contains(text, want) {
			t.Errorf("the output lacks %q:\n%s", want, text)
		}
	}
}

// isRealRoot reports whether this process is root in the machine's own user
// namespace, so that it may become others.
func isRealRoot(t *testing.T) bool {
	t.Helper()
	m, err := os.ReadFile("/proc/self/uid_map")
	check(t, err)
	return os.Geteuid() == 0 && strings.Contains(string(m), "4294967295")
}

// TestNeeds is skipped, and listed, where there is no TUN device to be had.
func TestNeeds(t *testing.T) {
	lab.NeedTUN(t)
	lab.NeedKernelVXLAN(t)
	lab.NeedBridge(t)
}

// TestNoNamespaces runs this binary where the kernel allows none: all its
// tests are left out, with the reason and the remedy, and that is no failure.
func TestNoNamespaces(t *testing.T) {
	list := filepath.Join(t.TempDir(), "left-out")
	cmd := outside("no-namespaces", "-test.v")
	cmd.Env = append(cmd.Env, lab.EnvLeftOut+"="+list)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	check(t, err)
	listed, err := os.ReadFile(list)
	check(t, err)
	for _, text := range []string{string(out), string(listed)} {
		for _, want := range []string{"internal/lab: all tests: namespaces:", "no space left", "max_net_namespaces", "run as root"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q lacks %q", text, want)
			}
		}
	}
	if strings.Contains(string(out), "=== RUN") {
		t.Errorf("tests ran all the same:\n%s", out)
	}
}

func TestEventually(t *testing.T) {
	calls := 0
	err := lab.Eventually(time.Second, func() error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if err := lab.Eventually(time.Millisecond, func() error { return os.ErrNotExist }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the last error is lost: %v", err)
	}
}

package interop

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// envUserNamespace tells the tests that TestUserNamespace has started them.
const envUserNamespace = "WEFT_INTEROP_USER_NAMESPACE"

// TestUserNamespace runs itself and a transfer where a container or an ordinary
// user would: nothing there may go beyond the system's limits, the receive
// buffer's among them.
func TestUserNamespace(t *testing.T) {
	t.Parallel()
	lab.NeedTUN(t)
	if os.Getenv(envUserNamespace) != "" {
		checkSmallBufferTold(t)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^(TestUserNamespace|TestUserUserTransfer)$", "-test.v")
	// Without these variables the lab makes the program a world of its own.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WEFT_LAB_") })
	cmd.Env = append(cmd.Env, envUserNamespace+"=1", envTransfer+"=4")
	self := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: self, GidMappings: self, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("no user namespace to be had: %v", err)
	}
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if n := strings.Count(string(out), "\n--- PASS"); n != 2 {
		t.Errorf("%d of 2 tests passed:\n%s", n, out)
	}
}

// checkSmallBufferTold looks at what weft says of the buffer that it does not
// get.
func checkSmallBufferTold(t *testing.T) {
	t.Helper()
	h, _ := lab.TestPair(t)
	v := addVTEP(t, h, user, spec{VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Local: underlay4.a, Remote: underlay4.b}})
	log := v.weft.log()
	for _, word := range []string{"net.core.rmem_max", "CAP_NET_ADMIN", "socket_full"} {
		if n := strings.Count(log, word); n != 1 {
			t.Errorf("the log names %s %d times, want once: %s", word, n, log)
		}
	}
}

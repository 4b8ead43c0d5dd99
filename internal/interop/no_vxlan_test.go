package interop

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// noVXLANExpected says that these tests run on a kernel that has no vxlan and
// is older than 6.2. internal/novxlan sets the first variable in its guest; the
// second is for whoever has such a kernel already.
func noVXLANExpected() bool {
	return os.Getenv("WEFT_NOVXLAN") == "1" || os.Getenv("WEFT_EXPECT_NO_VXLAN") == "1"
}

// TestNoVXLANKernel looks at the kernel, and at what weft tells of it: UDP
// super-frames of the device came with Linux 6.2, the other offloads are there
// and carry.
func TestNoVXLANKernel(t *testing.T) {
	if !noVXLANExpected() {
		t.Skip("for a kernel without vxlan: make test-novxlan boots one")
	}
	a, b := connect(t, pairing{user, user}, underlay4, byProcess(nil))
	err := a.AddKernelVXLAN(lab.VXLAN{Name: "kvx0", ID: 9, Port: 4790, Remote: underlay4.b})
	if !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("the kernel's answer to a link of type vxlan is %v, want EOPNOTSUPP", err)
	}
	offload := a.weft.links()[0].Offload
	if uso := offload["dev_uso"]; !strings.HasPrefix(uso, "off") || !strings.Contains(uso, "6.2") {
		t.Errorf("dev_uso is %q, want off and why", uso)
	}
	for _, name := range []string{"dev_gso", "udp_gso", "udp_gro"} {
		if offload[name] != "on" {
			t.Errorf("%s is %q, want on", name, offload[name])
		}
	}
	if text := a.weft.must("link", "show", "vxlan0"); !strings.Contains(text, "dev_uso off (") {
		t.Errorf("link show does not tell: %s", text)
	}
	m := newMeter(t, a, b)
	transfer(t, a, b, innerB[0], smallTransfer(t))
	transfer(t, b, a, innerA[1], smallTransfer(t))
	m.checkOffloads(t, engaged{devGSO: true, udpGSO: true, udpGRO: true})
	m.checkDrops(t)
}

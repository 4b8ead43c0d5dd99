//go:build linux

// Command demo shows weft at its main job, with real traffic between real
// hosts, which are network namespaces of its own: one end of a VXLAN link is
// weft, the other the kernel's vxlan device; then three nodes of a flannel
// network. Where the kernel has no vxlan it shows that network alone. It leaves
// nothing behind.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

func main() {
	turn := flag.Duration("turn", 2*time.Second, "measure throughput in turns of this `length`")
	flag.Parse()
	if err := run(*turn); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(turn time.Duration) error {
	if err := lab.Enter(); err != nil {
		return err
	}
	lacks := lab.Missing()
	for _, l := range lacks {
		fmt.Fprintln(os.Stderr, "demo: this machine lacks", l)
	}
	switch {
	case len(lacks) == 0:
		if err := showLink(turn); err != nil {
			return err
		}
	case len(lacks) == 1 && lab.LackOfKernelVXLAN() != nil:
		fmt.Println(noKernelVXLAN)
	default:
		return errors.New("it cannot be shown without what is named above")
	}
	return showFlannel()
}

// noKernelVXLAN is said of the hosts that weft is for above all.
const noKernelVXLAN = "This kernel has no vxlan: the link between weft and the kernel's device is left out, and the flannel network has user nodes only."

// showLink shows one VXLAN link between two hosts.
func showLink(turn time.Duration) error {
	s, err := setUp()
	if err != nil {
		return err
	}
	defer s.close()
	s.turn = turn
	for _, show := range []func(*scene) error{showHosts, showPings, showTransfers, showThroughput, showPacket, showFigures} {
		if err := show(s); err != nil {
			return err
		}
	}
	return nil
}

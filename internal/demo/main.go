//go:build linux

// Command demo shows weft at its main job, with real traffic between real
// hosts, which are network namespaces of its own: one end of a VXLAN link is
// weft, the other the kernel's vxlan device; then three nodes of a flannel
// network. It leaves nothing behind.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/weftnet/weft/internal/lab"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := lab.Enter(); err != nil {
		return err
	}
	if lacks := lab.Missing(); len(lacks) > 0 {
		for _, l := range lacks {
			fmt.Fprintln(os.Stderr, "demo: this machine lacks", l)
		}
		if len(lacks) == 1 && lab.LackOfKernelVXLAN() != nil {
			if err := showFlannel(); err != nil { // all members of which can be user
				return err
			}
		}
		return errors.New("it cannot be shown without what is named above")
	}
	if err := showLink(); err != nil {
		return err
	}
	return showFlannel()
}

// showLink shows one VXLAN link between two hosts.
func showLink() error {
	s, err := setUp()
	if err != nil {
		return err
	}
	defer s.close()
	for _, show := range []func(*scene) error{showHosts, showPings, showTransfers, showThroughput, showPacket, showFigures} {
		if err := show(s); err != nil {
			return err
		}
	}
	return nil
}

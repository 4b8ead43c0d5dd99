package tap

import (
	"fmt"
	"syscall"

	"github.com/songgao/water"
)

// Adopts says that Open takes an adapter that is there already, and does not
// create one.
const Adopts = false

// errGone is what a device gives whose driver was unloaded.
const errGone = syscall.ENXIO

// The system itself has TUN devices only.
func waterParams(name string) water.PlatformSpecificParams {
	return water.PlatformSpecificParams{Name: name, Driver: water.MacOSDriverTunTapOSX}
}

// explainOpen says what is wrong with the machine rather than with the call.
func explainOpen(name string, err error) error {
	return fmt.Errorf("create %s: macOS has TAP devices only with the tuntaposx driver, and calls them tap0 to tap15: load it, and take such a name: %w", name, err)
}

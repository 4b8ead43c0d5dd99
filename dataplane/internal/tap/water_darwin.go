package tap

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/songgao/water"
)

// Adopts says that Open takes an adapter that is there already, and does not
// create one.
const Adopts = false

// errGone is what a device gives whose driver was unloaded.
const errGone = syscall.ENXIO

// TUN says that there are TUN devices.
const TUN = true

// The system itself has TUN devices only, called utun0 and so on.
func waterParams(name string, tun bool) water.PlatformSpecificParams {
	if tun {
		return water.PlatformSpecificParams{Name: name, Driver: water.MacOSDriverSystem}
	}
	return water.PlatformSpecificParams{Name: name, Driver: water.MacOSDriverTunTapOSX}
}

// explainOpen says what is wrong with the machine rather than with the call.
func explainOpen(name string, err error) error {
	if strings.HasPrefix(name, "utun") {
		return fmt.Errorf("create %s: run as root, and take another number if that one is in use: %w", name, err)
	}
	return fmt.Errorf("create %s: macOS has TAP devices only with the tuntaposx driver, and calls them tap0 to tap15: load it, and take such a name; links that carry IP packets have names such as utun5: %w", name, err)
}

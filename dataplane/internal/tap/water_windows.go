package tap

import (
	"fmt"
	"syscall"

	"github.com/songgao/water"
)

// Adopts says that Open takes an adapter that is there already, and does not
// create one.
const Adopts = true

// errGone is what an adapter gives that was disabled or removed.
const errGone = syscall.Errno(1167) // ERROR_DEVICE_NOT_CONNECTED

// TUN says that there are no TUN devices: the driver imitates one for a single
// network that has to be named before, and cannot be moved.
const TUN = false

// Adapters of the TAP-Windows driver have this component.
func waterParams(name string, _ bool) water.PlatformSpecificParams {
	return water.PlatformSpecificParams{ComponentID: "tap0901", InterfaceName: name}
}

// explainOpen says what is wrong with the machine rather than with the call.
func explainOpen(name string, err error) error {
	return fmt.Errorf("open %s: an adapter of that name is wanted whose driver is TAP-Windows (component tap0901) and that no other program uses: %w", name, err)
}

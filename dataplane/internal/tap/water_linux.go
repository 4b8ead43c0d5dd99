package tap

import (
	"errors"
	"fmt"
	"os"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"
)

// Adopts says that Open takes an adapter that is there already, and does not
// create one.
const Adopts = false

// errGone is what a deleted device gives (probed on 6.18).
const errGone = unix.EBADFD

// TUN says that there are TUN devices.
const TUN = true

func waterParams(name string, _ bool) water.PlatformSpecificParams {
	return water.PlatformSpecificParams{Name: name}
}

// explainOpen says what is wrong with the machine rather than with the call.
func explainOpen(name string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("create %s: /dev/net/tun does not exist: load the tun module, or pass the device into the container: %w", name, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("create %s: not permitted to use /dev/net/tun: run as root or with CAP_NET_ADMIN: %w", name, err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EBUSY):
		return fmt.Errorf("create %s: an interface of that name exists already: %w", name, err)
	}
	return fmt.Errorf("create %s: %w", name, err)
}

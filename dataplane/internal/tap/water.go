package tap

import (
	"errors"
	"os"
	"syscall"
)

// portableError translates what songgao/water returns.
func portableError(err error) error {
	switch {
	case errors.Is(err, errGone), errors.Is(err, os.ErrClosed):
		return ErrClosed
	case errors.Is(err, syscall.EIO):
		return ErrDown
	}
	return err
}

//go:build !portable

package dataplane

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/dataplane/internal/tap"
)

// checkSystem makes sure that the name is free: a persistent TAP device of that
// name would be taken over without a word.
func (r *resolved) checkSystem() error {
	name := r.cfg.Name
	have, err := netlink.LinkByName(name)
	if err == nil {
		return fmt.Errorf("interface %s exists already (type %s): choose another name or delete it: %w", name, have.Type(), os.ErrExist)
	}
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	return fmt.Errorf("look for interface %s: %w", name, err)
}

// underlayDevice looks up what the underlay's side of a link depends on.
func underlayDevice(name string) (index, mtu int, err error) {
	dev, err := netlink.LinkByName(name)
	if err != nil {
		return 0, 0, err
	}
	return dev.Attrs().Index, dev.Attrs().MTU, nil
}

// openDevice creates the device as configured.
func openDevice(r *resolved) (*tap.Device, *attributes, error) {
	device, err := r.createDevice(r.cfg.NoOffload)
	if err != nil {
		return nil, nil, err
	}
	attrs, err := r.configure(device)
	if err != nil {
		device.Close()
		return nil, nil, err
	}
	return device, attrs, nil
}

func (r *resolved) configure(device *tap.Device) (*attributes, error) {
	link, err := netlink.LinkByName(r.cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", r.cfg.Name, err)
	}
	if err := netlink.LinkSetMTU(link, r.cfg.MTU); err != nil {
		return nil, fmt.Errorf("set mtu %d of %s: %w", r.cfg.MTU, r.cfg.Name, err)
	}
	if r.address != nil {
		if err := netlink.LinkSetHardwareAddr(link, r.address); err != nil {
			return nil, fmt.Errorf("set address %s of %s: %w", r.address, r.cfg.Name, err)
		}
	}
	return readAttributes(device)
}

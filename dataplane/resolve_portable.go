//go:build !linux || portable

package dataplane

import (
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/weftnet/weft/dataplane/internal/tap"
)

// checkSystem refuses what cannot be had here, and makes sure that there is an
// interface of the name where one is taken over, and none where one is created.
func (r *resolved) checkSystem() error {
	if err := r.checkWords(); err != nil {
		return err
	}
	name := r.cfg.Name
	_, err := net.InterfaceByName(name)
	switch {
	case tap.Adopts && err != nil:
		return fmt.Errorf("adapter %s: create one with the TAP-Windows driver's tools and rename it: %w", name, err)
	case !tap.Adopts && err == nil:
		return fmt.Errorf("interface %s exists already: choose another name or delete it: %w", name, os.ErrExist)
	}
	return nil
}

// checkWords refuses the words that package net, golang.org/x/net and
// songgao/water have no way to follow.
func (r *resolved) checkWords() error {
	const (
		bySystem  = "leave it out, and set it with the system's tools once the device exists"
		byDefault = "leave it out, and the system's default counts"
		byOthers  = "leave it out, and neighbours answer for themselves"
	)
	c, windows := &r.cfg, runtime.GOOS == "windows"
	for _, w := range []struct {
		word, remedy string
		given        bool
	}{
		{"mtu", bySystem, c.MTU != 0},
		{"address", bySystem, c.Address != "" && !c.L3}, // that with L3 is the link's own
		{"df " + string(c.DF), byDefault, c.DF != "" && c.DF != DFUnset},
		{"flowlabel", byDefault, c.FlowLabel != 0},
		{"noudpcsum", byDefault, c.Checksum.NoUDP},
		{"links that carry IP packets", "give the link a TAP device: leave out l3 or `type udp`", c.Routed() && !tap.TUN},
		{"udp6zerocsumtx", byDefault, c.Checksum.ZeroTx6},
		{"udp6zerocsumrx", byDefault, c.Checksum.AcceptRx6},
		{"proxy", byOthers, c.Proxy}, // package net does not tell the neighbour table
		{"local", byDefault, windows && c.Local.IsValid()},
		{"dev", byDefault, windows && c.Dev != ""},
		{"tos", byDefault, windows && (c.TOS != 0 || c.TOSCopy)},
	} {
		if w.given {
			return fmt.Errorf("%s: not available on the portable device path (%s): %s", w.word, runtime.GOOS, w.remedy)
		}
	}
	return nil
}

// underlayDevice looks up what the underlay's side of a link depends on.
func underlayDevice(name string) (index, mtu int, err error) {
	dev, err := net.InterfaceByName(name)
	if err != nil {
		return 0, 0, err
	}
	return dev.Index, dev.MTU, nil
}

// openDevice opens the device, which stays as the system made it.
func openDevice(r *resolved) (*tap.Device, *attributes, error) {
	device, err := r.createDevice(true)
	if err != nil {
		return nil, nil, err
	}
	attrs, err := readAttributes(device)
	if err != nil {
		device.Close()
		return nil, nil, err
	}
	return device, attrs, nil
}

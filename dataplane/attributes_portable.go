//go:build !linux || portable

package dataplane

import (
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/routetable"
)

// attributesEvery is how often package net is asked for changes, which it does
// not tell by itself.
const attributesEvery = time.Second

// readAttributes asks for the interface by the name that it got.
func readAttributes(device *tap.Device) (*attributes, error) {
	dev, err := net.InterfaceByName(device.Name())
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", device.Name(), err)
	}
	return attributesOf(dev), nil
}

func attributesOf(dev *net.Interface) *attributes {
	attrs := &attributes{name: dev.Name, index: dev.Index, mtu: dev.MTU, up: dev.Flags&net.FlagUp != 0}
	if len(dev.HardwareAddr) == len(attrs.mac) {
		attrs.mac = routetable.MAC(dev.HardwareAddr)
	}
	return attrs
}

// watch follows what the system does to the device until the link is removed.
func (l *Link) watch(log *zap.Logger) {
	ticker := time.NewTicker(attributesEvery)
	defer ticker.Stop()
	l.adviseMTU(log)
	l.take(l.attrs.Load(), log)
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
			l.refresh(log)
		}
	}
}

// refresh takes over what changed. Without an interface of that number it
// changes nothing: whether the device is gone, reading from it tells.
func (l *Link) refresh(log *zap.Logger) {
	have := l.attrs.Load()
	dev, err := net.InterfaceByIndex(have.index)
	if err != nil {
		return
	}
	attrs := attributesOf(dev)
	if *attrs == *have {
		return
	}
	l.take(attrs, log)
	if attrs.mtu != have.mtu {
		l.adviseMTU(log)
	}
}

// adviseMTU says what to do where the device's MTU leaves no room for the
// outer headers: what is in the way is fragmented or dropped.
func (l *Link) adviseMTU(log *zap.Logger) {
	if have := l.attrs.Load(); have.mtu > l.Config().MTU {
		log.Warn("the MTU of the device is larger than what the underlay carries, and only the system's own tools can set it: lower it to what is wanted",
			zap.String("link", have.name), zap.Int("have", have.mtu), zap.Int("wanted", l.Config().MTU))
	}
}

//go:build !linux || portable

package underlay

import (
	"github.com/weftnet/weft/dataplane/internal/injector"
	"github.com/weftnet/weft/encap"
)

type injection struct{}

// UseInjector does nothing: there is no injector.
func (*Sender) UseInjector(*injector.Device) {}

// Injects reports that Inject does nothing.
func (*Sender) Injects() bool { return false }

// Inject sends nothing.
func (*Sender) Inject(*Flow, *Via, uint32, *encap.Packet, *encap.Layout, int) bool { return false }

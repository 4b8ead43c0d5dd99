//go:build !portable

package underlay

import (
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/injector"
)

// Discard has s not ask the kernel: whatever it would be asked to send counts
// as sent. So all else that sending takes can be measured.
func (s *Sender) Discard() {
	s.sys.sendmmsg = func(_ int, messages []mmsghdr) (int, unix.Errno) { return len(messages), 0 }
}

// DiscardInjected has s inject into nothing: all else that injecting takes can
// be measured, and when it is done can be seen.
func (s *Sender) DiscardInjected() {
	s.UseInjector(&injector.Device{})
	s.inject.write = func([]byte, []byte) unix.Errno { return 0 }
}

//go:build !portable

package underlay

import "golang.org/x/sys/unix"

// Discard has s not ask the kernel: whatever it would be asked to send counts
// as sent. So all else that sending takes can be measured.
func (s *Sender) Discard() {
	s.sys.sendmmsg = func(_ int, messages []mmsghdr) (int, unix.Errno) { return len(messages), 0 }
}

//go:build linux

package lab

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"github.com/google/gopacket"
	"github.com/google/gopacket/pcapgo"
)

// WritePcap writes what was recorded so far into a capture file that tcpdump
// and Wireshark read.
func (c *Capture) WritePcap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing a capture: %w", err)
	}
	w := bufio.NewWriter(f)
	if err := errors.Join(c.writePcap(w), w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("writing capture %s: %w", path, err)
	}
	return nil
}

func (c *Capture) writePcap(b *bufio.Writer) error {
	w := pcapgo.NewWriterNanos(b)
	if err := w.WriteFileHeader(uint32(c.snap), c.link); err != nil {
		return err
	}
	for _, f := range c.Frames() {
		info := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: f.Length}
		if err := w.WritePacket(info, f.Data); err != nil {
			return err
		}
	}
	return nil
}

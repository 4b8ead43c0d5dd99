//go:build linux

package dissect

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/weftnet/weft/internal/lab"
)

// snapLen is more than any frame has, and what tcpdump writes.
const snapLen = 1 << 18

// WritePcap writes what a capture has recorded so far into a file that tcpdump
// and Wireshark read.
func WritePcap(c *lab.Capture, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing a capture: %w", err)
	}
	w := bufio.NewWriter(f)
	if err := errors.Join(writeFrames(w, c.Frames()), w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("writing capture %s: %w", path, err)
	}
	return nil
}

// writeFrames writes the frames of one device, which have one link type.
func writeFrames(b *bufio.Writer, frames []lab.Frame) error {
	link := layers.LinkTypeEthernet
	if len(frames) > 0 {
		link = linkType(frames[0])
	}
	w := pcapgo.NewWriterNanos(b)
	if err := w.WriteFileHeader(snapLen, link); err != nil {
		return err
	}
	for _, f := range frames {
		info := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: f.Length}
		if err := w.WritePacket(info, f.Data); err != nil {
			return err
		}
	}
	return nil
}

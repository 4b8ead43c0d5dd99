package cli

import (
	"fmt"
	"io"

	"github.com/weftnet/weft/dataplane"
)

// figures are those of `ip -s link`. Drops that the kernel's device does not
// count at all are with the dropped.
type figures struct {
	RX rxFigures `json:"rx"`
	TX txFigures `json:"tx"`
}

type rxFigures struct {
	Bytes     uint64 `json:"bytes"`
	Packets   uint64 `json:"packets"`
	Errors    uint64 `json:"errors"`
	Dropped   uint64 `json:"dropped"`
	Missed    uint64 `json:"over_errors"`
	Multicast uint64 `json:"multicast"`
}

type txFigures struct {
	Bytes      uint64 `json:"bytes"`
	Packets    uint64 `json:"packets"`
	Errors     uint64 `json:"errors"`
	Dropped    uint64 `json:"dropped"`
	Carrier    uint64 `json:"carrier_errors"`
	Collisions uint64 `json:"collisions"`
}

func figuresOf(s *dataplane.Stats) figures {
	of := func(reasons ...dataplane.Reason) (sum uint64) {
		for _, r := range reasons {
			sum += s.Drops[r.String()]
		}
		return sum
	}
	return figures{
		RX: rxFigures{
			Bytes: s.RxBytes, Packets: s.RxPackets,
			Errors: of(dataplane.ReservedBits, dataplane.BadLength, dataplane.ECN),
			Dropped: of(dataplane.ShortHeader, dataplane.NoVNIFlag, dataplane.UnknownVNI, dataplane.ShortFrame,
				dataplane.OwnSource, dataplane.InvalidSource, dataplane.PinnedSource, dataplane.SourceNotAllowed,
				dataplane.OtherHost, dataplane.NotIP, dataplane.BadChecksum, dataplane.VLAN, dataplane.DeviceDown),
			Missed: of(dataplane.SocketFull),
		},
		TX: txFigures{
			Bytes: s.TxBytes, Packets: s.TxPackets,
			Errors:  of(dataplane.NoRoute, dataplane.SendError),
			Dropped: of(dataplane.Proxy, dataplane.FDBMiss, dataplane.TooBig, dataplane.TTLExpired, dataplane.DeviceFull),
			Carrier: of(dataplane.NoRoute),
		},
	}
}

// writeFigures prints columns as wide as ip's, and wider for large numbers.
func writeFigures(out io.Writer, f figures) {
	writeColumns(out, "RX", []string{" bytes", "packets", "errors", "dropped", " missed", "  mcast"},
		f.RX.Bytes, f.RX.Packets, f.RX.Errors, f.RX.Dropped, f.RX.Missed, f.RX.Multicast)
	writeColumns(out, "TX", []string{" bytes", "packets", "errors", "dropped", "carrier", "collsns"},
		f.TX.Bytes, f.TX.Packets, f.TX.Errors, f.TX.Dropped, f.TX.Carrier, f.TX.Collisions)
}

func writeColumns(out io.Writer, direction string, titles []string, values ...uint64) {
	head, row := "    "+direction+":", "       "
	for i, title := range titles {
		width := max(len(title), len(fmt.Sprint(values[i])))
		head += fmt.Sprintf(" %*s", width, title)
		row += fmt.Sprintf(" %*d", width, values[i])
	}
	fmt.Fprintf(out, "%s\n%s\n", head, row)
}

package cli

import "io"

// fdbPrinter prints lines of forwarding databases.
type fdbPrinter struct {
	*tablePrinter
	statistics bool
}

func newFDBPrinter(out io.Writer, asJSON, statistics bool) *fdbPrinter {
	return &fdbPrinter{newTablePrinter(out, asJSON), statistics}
}

// print prints one line, with the device's name where all links are shown.
func (p *fdbPrinter) print(l fdbLine, named bool) error {
	if !named {
		l.IfName = ""
	}
	if !p.statistics {
		l.Used, l.Updated = nil, nil
	}
	return p.tablePrinter.print(&l)
}

package cli

import (
	"bufio"
	"encoding/json"
	"io"
)

// fdbPrinter prints lines as they come, so that their number does not matter.
type fdbPrinter struct {
	out        *bufio.Writer
	json       bool
	statistics bool
	printed    bool // one at least
	line       []byte
}

func newFDBPrinter(out io.Writer, asJSON, statistics bool) *fdbPrinter {
	p := &fdbPrinter{out: bufio.NewWriterSize(out, 64<<10), json: asJSON, statistics: statistics}
	if asJSON {
		_ = p.out.WriteByte('[') // an error stays with the writer until close
	}
	return p
}

// print prints one line, with the device's name where all links are shown.
func (p *fdbPrinter) print(l fdbLine, named bool) error {
	if !named {
		l.IfName = ""
	}
	if !p.statistics {
		l.Used, l.Updated = nil, nil
	}
	if p.json {
		return p.printJSON(&l)
	}
	p.line = l.appendText(p.line[:0])
	_, err := p.out.Write(p.line)
	return err
}

func (p *fdbPrinter) printJSON(l *fdbLine) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if p.printed {
		_ = p.out.WriteByte(',')
	}
	p.printed = true
	_, err = p.out.Write(text)
	return err
}

// close ends what was printed.
func (p *fdbPrinter) close() error {
	if p.json {
		_, _ = p.out.WriteString("]\n")
	}
	return p.out.Flush()
}

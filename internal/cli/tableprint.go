package cli

import (
	"bufio"
	"encoding/json"
	"io"
)

// tableLine is a line of a table: in JSON what it is, else as text.
type tableLine interface{ appendText(b []byte) []byte }

// tablePrinter prints lines as they come, so that their number does not matter.
type tablePrinter struct {
	out     *bufio.Writer
	json    bool
	printed bool // one at least
	line    []byte
}

func newTablePrinter(out io.Writer, asJSON bool) *tablePrinter {
	p := &tablePrinter{out: bufio.NewWriterSize(out, 64<<10), json: asJSON}
	if asJSON {
		_ = p.out.WriteByte('[') // an error stays with the writer until close
	}
	return p
}

func (p *tablePrinter) print(l tableLine) error {
	if p.json {
		return p.printJSON(l)
	}
	p.line = l.appendText(p.line[:0])
	_, err := p.out.Write(p.line)
	return err
}

func (p *tablePrinter) printJSON(l tableLine) error {
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
func (p *tablePrinter) close() error {
	if p.json {
		_, _ = p.out.WriteString("]\n")
	}
	return p.out.Flush()
}

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// batch runs the commands of a file, one a line.
type batch struct {
	app   *app
	file  string
	close func() error
	lines batchLines
	force bool // go on after a command that fails

	// Changes of one forwarding database, in lines that followed one another,
	// are put to its daemon together.
	waiting     []dataplane.FDBChange
	waitingLine []int
	waitingDev  string
	failure     *failedLine // the first
}

// maxWaiting bounds a request to well below what a daemon reads as one, 64 kB:
// no change is longer than 200 bytes.
const maxWaiting = 256

// openBatch opens a file, or takes in for the file called "-".
func (a *app) openBatch(file string, in io.Reader, force bool) (*batch, error) {
	b := &batch{app: a, file: file, force: force, close: func() error { return nil }}
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("batch file: %w", err)
		}
		in, b.close = f, f.Close
	}
	b.lines.in = bufio.NewReaderSize(in, 64<<10)
	return b, nil
}

// run runs the commands up to the first that fails, or all of them, each of
// which says itself why it failed. The error is a *failedLine, or that of ctx
// or of reading.
func (b *batch) run(ctx context.Context) error {
	for b.goesOn() {
		if err := ctx.Err(); err != nil {
			return err
		}
		words, err := b.lines.next()
		if err != nil && !isUsage(err) {
			b.putWaiting()
			if errors.Is(err, io.EOF) {
				break
			}
			return fmt.Errorf("batch file %s: %w", b.file, err)
		}
		b.do(ctx, words, err)
	}
	if b.failure != nil {
		return b.failure
	}
	return nil
}

func (b *batch) goesOn() bool { return b.failure == nil || b.force }

// do runs one command, or keeps it for later if it is a change that may wait.
// err says what is wrong with its line.
func (b *batch) do(ctx context.Context, words []string, err error) {
	line := b.lines.line
	change, mayWait := changeOf(words)
	if len(b.waiting) > 0 && (!mayWait || change.dev != b.waitingDev || len(b.waiting) == maxWaiting) {
		b.putWaiting()
	}
	switch {
	case !b.goesOn():
	case err != nil:
		b.app.complain("%s", err)
		b.failed(line)
	case mayWait:
		b.waiting, b.waitingLine, b.waitingDev = append(b.waiting, change.change), append(b.waitingLine, line), change.dev
		if !b.lines.ready() { // somebody may be waiting for it
			b.putWaiting()
		}
	case b.app.runLine(ctx, words) != done:
		b.failed(line)
	}
}

// failed says which line failed, in the words of ip.
func (b *batch) failed(line int) {
	f := &failedLine{b.file, line}
	fmt.Fprintln(b.app.err, f)
	if b.failure == nil {
		b.failure = f
	}
}

// changeOf reads a change of a forwarding database. What is no such change or
// is wrong is for the ordinary way.
func changeOf(words []string) (change *newFDBChange, ok bool) {
	if len(words) < 2 || words[0] != "fdb" || slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") }) {
		return nil, false
	}
	op := dataplane.FDBOp(words[1])
	switch op {
	case "delete":
		op = dataplane.FDBDelete
	case dataplane.FDBAdd, dataplane.FDBAppend, dataplane.FDBReplace, dataplane.FDBDelete:
	default:
		return nil, false
	}
	change, err := readFDBChange(op, words[2:])
	return change, err == nil
}

// putWaiting carries out the changes that wait.
func (b *batch) putWaiting() {
	for len(b.waiting) > 0 && b.goesOn() {
		l, err := theLink(control.OpList, b.waitingDev)
		n := 0
		if err == nil {
			n, err = changeFDB(&l, b.waiting)
		}
		if err == nil {
			break
		}
		n = min(n, len(b.waiting)-1)
		b.app.complain("%s", err)
		b.failed(b.waitingLine[n])
		b.waiting, b.waitingLine = b.waiting[n+1:], b.waitingLine[n+1:]
	}
	b.waiting, b.waitingLine = b.waiting[:0], b.waitingLine[:0]
}

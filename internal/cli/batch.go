package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// batch runs the commands of a file, one a line.
type batch struct {
	app   *app
	file  string
	close func() error
	lines batchLines
	force bool // go on after a command that fails

	waiting changes
	failure *failedLine // the first
}

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
	if !b.waiting.empty() && (!mayWait || !b.waiting.takes(change)) {
		b.putWaiting()
	}
	switch {
	case !b.goesOn():
	case err != nil:
		b.app.complain("%s", err)
		b.failed(line)
	case mayWait:
		b.waiting.add(change, line)
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

// putWaiting carries out the changes that wait.
func (b *batch) putWaiting() {
	w := &b.waiting
	for !w.empty() && b.goesOn() {
		n, err := w.put()
		if err == nil {
			break
		}
		n = min(n, len(w.lines)-1)
		b.app.complain("%s", err)
		b.failed(w.lines[n])
		w.forget(n + 1)
	}
	w.forget(len(w.lines))
}

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftnet/weft/internal/control"
)

// takePart takes what one response of a dump holds, and reports whether that was
// something.
type takePart func(*control.Response) (some bool, err error)

// dump asks the link's daemon for a table, which messages call what, and hands
// over its parts as they arrive.
func (l *foundLink) dump(op control.Op, what string, take takePart) error {
	begun, err := l.dumpOnce(op, take)
	if err != nil && !begun && l.renamed() {
		return l.dump(op, what, take)
	}
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("no answer for %v", queryTimeout)
	}
	if err != nil {
		return fmt.Errorf("%s of %s: %w", what, l.device.Name, err)
	}
	return nil
}

func (l *foundLink) dumpOnce(op control.Op, take takePart) (begun bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	silence := newSilence(cancel)
	defer silence.stop()
	conn, err := control.Dial(ctx, l.socket)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	err = conn.Stream(ctx, control.Request{Op: op, Name: l.info.Name}, func(resp control.Response) error {
		silence.stop() // whoever reads the output may take any time
		defer silence.start()
		some, err := take(&resp)
		begun = begun || some
		if err != nil {
			return err
		}
		return refusal(resp)
	})
	return begun, err
}

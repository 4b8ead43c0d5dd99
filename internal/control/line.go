package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Sizes of one line in bytes. A request holds one link; a response holds all
// of a daemon's links with their figures, about 1.5 kB each.
const (
	maxRequest  = 64 << 10
	maxResponse = 32 << 20
)

var errTooLong = errors.New("line too long")

// readLine returns the next line without its end, which may not be longer
// than limit bytes. After errTooLong the reader stands inside the line.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit+1 {
			return nil, fmt.Errorf("%w: more than %d bytes", errTooLong, limit)
		}
		line = append(line, part...)
		if err == nil {
			return line[:len(line)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, endOfLine(err, line)
		}
	}
}

// endOfLine tells a connection that ended between two lines, io.EOF, from one
// that ended inside a line.
func endOfLine(err error, line []byte) error {
	if errors.Is(err, io.EOF) && len(line) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

func writeLine(w io.Writer, message any) error {
	line, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

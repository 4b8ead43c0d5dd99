package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// batchLines reads the commands of a batch file, by the rules of `ip -batch`.
type batchLines struct {
	in   *bufio.Reader
	line int // number of the last line that was read
}

// next returns the words of the next command, io.EOF after the last. An error
// of any other kind is about this command.
func (b *batchLines) next() ([]string, error) {
	for {
		text, err := b.command()
		if err != nil {
			return nil, err
		}
		if words, err := splitWords(text); err != nil || len(words) > 0 {
			return words, err
		}
	}
}

// command reads one line, and those that it goes on in.
func (b *batchLines) command() (string, error) {
	var command strings.Builder
	for {
		text, err := b.in.ReadString('\n')
		if err != nil && (!errors.Is(err, io.EOF) || text == "" && command.Len() == 0) {
			return "", err
		}
		b.line++
		text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
		text, comment := cutComment(text)
		text, goesOn := strings.CutSuffix(text, `\`)
		command.WriteString(text)
		if !goesOn || comment || err != nil {
			return command.String(), nil
		}
	}
}

// ready reports whether a further line can be read without waiting for it.
func (b *batchLines) ready() bool {
	ahead, _ := b.in.Peek(b.in.Buffered())
	return bytes.IndexByte(ahead, '\n') >= 0
}

// cutComment cuts a line at the first # that is not inside quotes.
func cutComment(text string) (before string, found bool) {
	var quote rune
	for i, c := range text {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '#':
			return text[:i], true
		case (c == '"' || c == '\'') && startsWord(text, i):
			quote = c
		}
	}
	return text, false
}

func startsWord(text string, i int) bool {
	return i == 0 || strings.ContainsRune(" \t", rune(text[i-1]))
}

// splitWords splits at blanks. A word that begins with a quote reaches to the
// next one of its kind.
func splitWords(text string) ([]string, error) {
	var words []string
	for {
		text = strings.TrimLeft(text, " \t\r")
		if text == "" {
			return words, nil
		}
		end, quote := strings.IndexAny(text, " \t\r"), text[0]
		if quote == '"' || quote == '\'' {
			text = text[1:]
			if end = strings.IndexByte(text, quote); end < 0 {
				return nil, usagef("quoted word %q has no end: add %c", text, quote)
			}
			words, text = append(words, text[:end]), text[end+1:]
			continue
		}
		if end < 0 {
			end = len(text)
		}
		words, text = append(words, text[:end]), text[end:]
	}
}

// failedLine is where a batch failed, which has been said; in the words of ip.
type failedLine struct {
	file string
	line int
}

func (f *failedLine) Error() string { return fmt.Sprintf("Command failed %s:%d", f.file, f.line) }

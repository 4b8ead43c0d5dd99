package extension

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"
)

// words splits a command as flannel does, which since v0.28.2 runs it without
// a shell: at white space, with variables filled in afterwards, so that what
// they hold stays one word. Quotes keep words together as in a shell, since
// flannel's own examples have them.
func words(command string, variable func(string) string) ([]string, error) {
	var words []string
	for rest := strings.TrimSpace(command); rest != ""; rest = strings.TrimSpace(rest) {
		word, after, err := firstWord(rest, variable)
		if err != nil {
			return nil, err
		}
		words, rest = append(words, word), after
	}
	return words, nil
}

// firstWord takes a word off the beginning of text.
func firstWord(text string, variable func(string) string) (word, rest string, err error) {
	bare := "" // what is not in quotes, where a shell would see its own
	for text != "" {
		quote := text[:1]
		if quote != "'" && quote != `"` {
			n := strings.IndexFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '\'' || r == '"' })
			if n == 0 {
				break
			}
			if n < 0 {
				n = len(text)
			}
			bare += text[:n]
			word += os.Expand(text[:n], variable)
			text = text[n:]
			continue
		}
		quoted, after, closed := strings.Cut(text[1:], quote)
		if !closed {
			return "", "", fmt.Errorf("the quote %s is not closed", quote)
		}
		if quote == `"` {
			if err := shellSubstitution(quoted); err != nil {
				return "", "", err
			}
			quoted = os.Expand(quoted, variable)
		}
		word, text = word+quoted, after
	}
	return word, text, shellOnly(bare)
}

// shellOnly refuses what only a shell would understand: to hand it to the
// program as a word, as flannel does, is what nobody means.
func shellOnly(word string) error {
	operators := []string{";", "&", "&&", "|", "||", "(", ")", "{", "}"}
	switch {
	case slices.Contains(operators, word):
		return needsShell(word)
	case strings.HasSuffix(word, ";"):
		return needsShell(";")
	case strings.HasPrefix(strings.TrimLeft(word, "0123456789&"), ">"), strings.HasPrefix(word, "<"):
		return needsShell(word)
	}
	return shellSubstitution(word)
}

func shellSubstitution(text string) error {
	for _, s := range []string{"`", "$("} {
		if strings.Contains(text, s) {
			return needsShell(s)
		}
	}
	return nil
}

func needsShell(what string) error {
	return fmt.Errorf("%s is for a shell, and commands run without one, as flannel's do since v0.28.2: put it into a script and name that, "+
		"or write sh -c '…'", what)
}

package cli

import (
	"maps"
	"slices"
)

// cursor walks over the bare words of a command line.
type cursor struct {
	words []string
	word  string // the one being read, which messages name
}

// next moves on to the next word.
func (c *cursor) next() bool {
	if len(c.words) == 0 {
		return false
	}
	c.word, c.words = c.words[0], c.words[1:]
	return true
}

// value returns the word behind the present one, which needs it; shape says
// what it must be.
func (c *cursor) value(shape string) (string, error) {
	if len(c.words) == 0 {
		return "", usagef("`%s` needs a value: %s", c.word, shape)
	}
	v := c.words[0]
	c.words = c.words[1:]
	return v, nil
}

// wrong refuses a value of the present word.
func (c *cursor) wrong(value, allowed string) error {
	return usagef("`%s %s` is refused: allowed is %s", c.word, value, allowed)
}

// word is one word of a grammar: what of it may be given once, and the parser
// of what follows it.
type word[T any] struct {
	sets  string // words that set the same thing exclude each other; "" excludes none
	parse func(c *cursor, into *T) error
}

// grammar is a set of words that may come in any order. New commands are new
// tables.
type grammar[T any] struct {
	words   map[string]word[T]
	aliases map[string]string // iproute2's other spellings
	refused map[string]string // words of iproute2 that weft refuses, and why
	// bare reads a word that is in no table, such as a name, and reports
	// whether it was wanted. Nil wants none.
	bare func(c *cursor, into *T) (bool, error)
}

// read reads all words of c into into.
func (g *grammar[T]) read(c *cursor, into *T) error {
	given := map[string]string{}
	for c.next() {
		w, ok := g.find(c.word)
		if !ok {
			if err := g.other(c, into); err != nil {
				return err
			}
			continue
		}
		if before, twice := given[w.sets]; twice && w.sets != "" {
			return duplicate(before, c.word)
		}
		given[w.sets] = c.word
		if err := w.parse(c, into); err != nil {
			return err
		}
	}
	return nil
}

func (g *grammar[T]) find(name string) (word[T], bool) {
	if canonical, ok := g.aliases[name]; ok {
		name = canonical
	}
	w, ok := g.words[name]
	return w, ok
}

// other reads or refuses a word that is not one of the grammar's.
func (g *grammar[T]) other(c *cursor, into *T) error {
	if why, ok := g.refused[c.word]; ok {
		return usagef("`%s` %s; words served here are %s", c.word, why, listed(g.names()))
	}
	if g.bare != nil {
		if wanted, err := g.bare(c, into); wanted || err != nil {
			return err
		}
	}
	return unknown("word", c.word, g.names())
}

func (g *grammar[T]) names() []string { return slices.Collect(maps.Keys(g.words)) }

func duplicate(before, again string) error {
	if before == again {
		return usagef("`%s` is given twice: once is allowed; leave one out", again)
	}
	return usagef("`%s` and `%s` exclude each other: one is allowed; leave one out", before, again)
}

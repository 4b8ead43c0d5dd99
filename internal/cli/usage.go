package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/internal/spelling"
)

// usageError is a command line that could never work; report adds where the
// usage is explained.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func isUsage(err error) bool {
	_, ok := errors.AsType[*usageError](err)
	return ok
}

// complain prints one line to standard error, in the form that every message
// of weft has.
func (a *app) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(a.err, "weft: "+format+"\n", args...)
}

// choose makes cmd, which has subcommands, do bare when it stands alone and
// refuse words that are no subcommand of it.
func choose(cmd *cobra.Command, bare func() error) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return bare()
		case args[0] == "help":
			return cmd.Help()
		}
		return unknown("command", args[0], subcommands(cmd))
	}
}

func subcommands(cmd *cobra.Command) []string {
	var names []string
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	return names
}

// unknown refuses a word that is none of allowed, and suggests the one that
// was probably meant.
func unknown(kind, word string, allowed []string) error {
	meant := ""
	if near := spelling.Nearest(word, allowed); near != "" {
		meant = fmt.Sprintf("did you mean `%s`? ", near)
	}
	return usagef("unknown %s %q: %sallowed are %s", kind, word, meant, listed(allowed))
}

func listed(words []string) string {
	return strings.Join(slices.Sorted(slices.Values(words)), ", ")
}

package cli

import (
	"flag"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// printAgentHelp prints the usage with all flags that are served.
func (a *app) printAgentHelp() {
	var b strings.Builder
	b.WriteString(agentHelp)
	newAgentFlags().set.VisitAll(func(f *flag.Flag) {
		if f.Usage == "" {
			return
		}
		value, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "  --%s %s\n        %s%s\n", f.Name, value, usage, defaultOf(f))
	})
	_, _ = fmt.Fprint(a.out, strings.ReplaceAll(strings.ReplaceAll(b.String(), " =URL", "[=URL]"), " \n", "\n"))
}

func defaultOf(f *flag.Flag) string {
	switch f.DefValue {
	case "", "false", "0":
		return ""
	}
	return " (default " + f.DefValue + ")"
}

func (a *app) printError(line string) { _, _ = fmt.Fprintln(a.err, line) }

// completeAgent offers the flags.
func completeAgent(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := newAgentFlags().names()
	for i := range names {
		names[i] = "--" + names[i]
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

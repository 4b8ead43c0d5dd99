// Package cli is the command line of weft: its commands, the bare words that
// they take as iproute2 does, and what they print.
package cli

import (
	"errors"
	"io"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	done     = 0
	failed   = 1
	badUsage = 2
)

// app is one run of the program: where it prints, and the flags that every
// command knows.
type app struct {
	out, err   io.Writer
	json       bool
	statistics bool
	details    bool
}

// Main runs the command line args, the program's own name first, and returns
// its exit status: 0 done, 1 failed, 2 bad usage.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{out: stdout, err: stderr}
	root := a.rootCommand()
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args[1:])
	ran, err := root.ExecuteC()
	return a.report(ran, err)
}

// report prints err as people and scripts expect it, and returns the status.
func (a *app) report(ran *cobra.Command, err error) int {
	if err == nil {
		return done
	}
	if usage, ok := errors.AsType[*usageError](err); ok {
		a.complain("%s; `%s -h` shows the usage", usage, ran.CommandPath())
		return badUsage
	}
	a.complain("%s", err)
	return failed
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "weft",
		Short:             "Userspace VXLAN: Ethernet over UDP for hosts whose kernel has no vxlan",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.BoolVarP(&a.json, "json", "j", false, "print JSON")
	flags.BoolVarP(&a.statistics, "statistics", "s", false, "print figures too")
	flags.BoolVarP(&a.details, "details", "d", false, "print details too")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err.Error()} })
	root.AddCommand(a.linkCommand(), a.fdbCommand(), a.monitorCommand(), a.addrCommand(), a.statsCommand(), daemonCommand(), a.versionCommand(), completionCommand())
	root.SetHelpCommand(helpCommand())
	choose(root, func() error { return usagef("no command given: allowed are %s", listed(subcommands(root))) })
	return root
}

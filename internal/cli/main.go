// Package cli is the command line of weft: its commands, the bare words that
// they take as iproute2 does, and what they print.
package cli

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

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
	batched    bool // run as a line of a batch
}

// Main runs the command line args, the program's own name first, and returns
// its exit status: 0 done, 1 failed, 2 bad usage.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{out: stdout, err: stderr}
	words := args[1:]
	if filepath.Base(args[0]) == flanneld {
		words = append([]string{"agent"}, words...)
	}
	return a.run(context.Background(), words, stdin)
}

// runLine runs one line of a batch, under the flags that the batch was given.
func (a *app) runLine(ctx context.Context, words []string) int {
	line := *a
	line.batched = true
	return line.run(ctx, words, strings.NewReader(""))
}

func (a *app) run(ctx context.Context, words []string, in io.Reader) int {
	root := a.rootCommand()
	root.SetIn(in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetArgs(longOptions(words))
	ran, err := root.ExecuteContextC(ctx)
	return a.report(ran, err)
}

// longOptions gives iproute2's options before the command, such as -batch, the
// second dash without which each letter would be an option.
func longOptions(words []string) []string {
	words = slices.Clone(words)
	for i := 0; i < len(words) && strings.HasPrefix(words[i], "-"); i++ {
		switch words[i] {
		case "-stats", "--stats":
			words[i] = "--statistics"
		case "-batch", "-force", "-json", "-details", "-statistics":
			words[i] = "-" + words[i]
		}
		if words[i] == "--batch" || words[i] == "-b" {
			i++ // its value
		}
	}
	return words
}

// report prints err as people and scripts expect it, and returns the status.
func (a *app) report(ran *cobra.Command, err error) int {
	if err == nil {
		return done
	}
	if _, told := errors.AsType[*failedLine](err); told {
		return failed
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
	flags.BoolVarP(&a.json, "json", "j", a.json, "print JSON")
	flags.BoolVarP(&a.statistics, "statistics", "s", a.statistics, "print figures too")
	flags.BoolVarP(&a.details, "details", "d", a.details, "print details too")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err.Error()} })
	root.AddCommand(a.linkCommand(), a.fdbCommand(), a.routeCommand(), a.monitorCommand(), a.addrCommand(), a.statsCommand(), a.versionCommand())
	root.SetHelpCommand(helpCommand())
	bare := func() error { return usagef("no command given: allowed are %s", listed(subcommands(root))) }
	if !a.batched {
		root.AddCommand(a.daemonCommand(), a.agentCommand(), a.dockerOptsCommand(), a.benchCommand(), completionCommand())
		bare = a.batchOr(root, bare)
	}
	choose(root, bare)
	return root
}

// batchOr adds the flags of a batch, and returns what runs it where they are
// given.
func (a *app) batchOr(root *cobra.Command, otherwise func() error) func() error {
	file := root.Flags().StringP("batch", "b", "", "run the commands of a file, or of standard input (-), one a line")
	force := root.Flags().Bool("force", false, "with --batch: go on after a command that fails")
	return func() error {
		if !root.Flags().Changed("batch") {
			return otherwise()
		}
		b, err := a.openBatch(*file, root.InOrStdin(), *force)
		if err != nil {
			return err
		}
		defer func() { _ = b.close() }()
		return b.run(root.Context())
	}
}

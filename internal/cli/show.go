package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/internal/control"
)

func (a *app) linkShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show [NAME]",
		Aliases:           []string{"list", "ls", "lst"},
		Short:             "Show the VXLAN links of this network namespace",
		ValidArgsFunction: completeName,
		RunE: func(_ *cobra.Command, words []string) error {
			name, err := readName(words)
			if err != nil {
				return err
			}
			return a.showLinks(name)
		},
	}
}

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "stats [NAME]",
		Short:             "Show packets, drops by reason, system calls and offloads",
		ValidArgsFunction: completeName,
		RunE: func(_ *cobra.Command, words []string) error {
			name, err := readName(words)
			if err != nil {
				return err
			}
			return a.showStats(name)
		},
	}
}

// showLinks prints what could be found out, then says what could not.
func (a *app) showLinks(name string) error {
	op := control.OpList
	if a.statistics {
		op = control.OpStats
	}
	found, err := find(op, name)
	if a.json {
		return errors.Join(a.printJSON(linksAsJSON(found)), err)
	}
	return errors.Join(a.printLinks(found), err)
}

func (a *app) showStats(name string) error {
	found, err := find(control.OpStats, name)
	if a.json {
		return errors.Join(a.printStatsJSON(found, name != ""), err)
	}
	return errors.Join(a.printStats(found), err)
}

package cli

import "github.com/spf13/cobra"

// helpCommand explains the command that its words name.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(cmd *cobra.Command, words []string) error {
			of := cmd.Root()
			for _, w := range words {
				next, _, err := of.Find([]string{w})
				if err != nil || next == of {
					return unknown("command", w, subcommands(of))
				}
				of = next
			}
			return of.Help()
		},
	}
}

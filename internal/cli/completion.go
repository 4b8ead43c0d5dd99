package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/internal/control"
)

// completionCommand prints what makes a shell complete weft's commands.
func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:       "completion bash|zsh|fish|powershell",
		Short:     "Print the completion script of a shell",
		Example:   "  source <(weft completion bash)",
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, words []string) error {
			c := &cursor{words: words, word: "completion"}
			shell, err := c.choice(shells...)
			if err == nil {
				err = noWords(cmd, c.words)
			}
			if err != nil {
				return err
			}
			return printCompletion(cmd, shell)
		},
	}
}

func printCompletion(cmd *cobra.Command, shell string) error {
	root, out := cmd.Root(), cmd.OutOrStdout()
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(out, true)
	case "zsh":
		return root.GenZshCompletion(out)
	case "fish":
		return root.GenFishCompletion(out, true)
	}
	return root.GenPowerShellCompletionWithDesc(out)
}

// completeName offers the links that are here.
func completeName(_ *cobra.Command, before []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(before) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, _ := linksHere(control.OpList) // who cannot ask gets no offers
	names := make([]string, len(found))
	for i, l := range found {
		names[i] = l.device.Name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeNewLink offers the words that may come next.
func completeNewLink(_ *cobra.Command, before []string, _ string) ([]string, cobra.ShellCompDirective) {
	words := linkWords.names()
	switch {
	case len(before) > 0 && before[len(before)-1] == "type":
		words = linkTypes
	case slices.Contains(before, "udp"):
		words = udpWords.names()
	case slices.Contains(before, "type"):
		words = vxlanWords.names()
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeWords offers the words of a grammar, and links behind `dev`.
func completeWords(names func() []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, before []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(before) > 0 && before[len(before)-1] == "dev" {
			return completeName(cmd, nil, typed)
		}
		return names(), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeSet offers the words that may come next.
func completeSet(cmd *cobra.Command, before []string, typed string) ([]string, cobra.ShellCompDirective) {
	switch {
	case len(before) == 0:
		return completeName(cmd, nil, typed)
	case before[len(before)-1] == "type":
		return linkTypes, cobra.ShellCompDirectiveNoFileComp
	case slices.Contains(before, "udp"):
		return udpSetGrammar.names(), cobra.ShellCompDirectiveNoFileComp
	case slices.Contains(before, "type"):
		return vxlanSetGrammar.names(), cobra.ShellCompDirectiveNoFileComp
	}
	return setWords.names(), cobra.ShellCompDirectiveNoFileComp
}

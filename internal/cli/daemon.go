package cli

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/daemon"
)

const daemonHelp = `Serve the links of the caller's network namespace in the foreground, for a
service manager or a container, until SIGTERM or SIGINT, which remove them.
Without it "weft link add" starts a daemon in the background that ends after
its last link. The log goes to standard error; where NOTIFY_SOCKET is set,
systemd is told when the daemon is ready (Type=notify).`

func daemonCommand() *cobra.Command {
	var background bool
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Serve links in the foreground",
		Long:  daemonHelp,
		Args:  noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := control.RunDirFromEnv()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			if background {
				return daemon.Background(ctx, dir)
			}
			return daemon.Foreground(ctx, dir)
		},
	}
	cmd.Flags().BoolVar(&background, daemon.BackgroundFlag, false, "")
	_ = cmd.Flags().MarkHidden(daemon.BackgroundFlag) // fails for unknown flags only
	return cmd
}

// noWords refuses all words of a command that takes none.
func noWords(cmd *cobra.Command, words []string) error {
	if len(words) == 0 {
		return nil
	}
	return usagef("unknown word %q: `%s` takes none; leave it out", words[0], cmd.CommandPath())
}

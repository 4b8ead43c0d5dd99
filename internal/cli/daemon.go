package cli

import (
	"context"
	"io"
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
systemd is told when the daemon is ready (Type=notify).

With --batch the daemon first runs the commands of a file, such as "link add",
"fdb append", "addr add" and "link set", and is ready when they are done. If
one of them fails the daemon ends with status 1 and without links.`

func (a *app) daemonCommand() *cobra.Command {
	var background bool
	var file string
	cmd := &cobra.Command{
		Use:   "daemon [--batch FILE]",
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
			return a.serve(ctx, dir, file, cmd.InOrStdin())
		},
	}
	cmd.Flags().StringVar(&file, "batch", "", "run the commands of a file first, or of standard input (-)")
	cmd.Flags().BoolVar(&background, daemon.BackgroundFlag, false, "")
	_ = cmd.Flags().MarkHidden(daemon.BackgroundFlag) // fails for unknown flags only
	return cmd
}

// serve is the daemon in the foreground, with the commands of file, if any, as
// its first.
func (a *app) serve(ctx context.Context, dir control.RunDir, file string, in io.Reader) error {
	if file == "" {
		return daemon.Foreground(ctx, dir, nil)
	}
	b, err := a.openBatch(file, in, false)
	if err != nil {
		return err
	}
	defer func() { _ = b.close() }()
	return daemon.Foreground(ctx, dir, b.run)
}

// noWords refuses all words of a command that takes none.
func noWords(cmd *cobra.Command, words []string) error {
	if len(words) == 0 {
		return nil
	}
	return usagef("unknown word %q: `%s` takes none; leave it out", words[0], cmd.CommandPath())
}

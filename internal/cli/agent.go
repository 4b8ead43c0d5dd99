package cli

import (
	"context"
	"errors"
	"flag"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/internal/agent"
)

// flanneld is the name under which the program is `weft agent`.
const flanneld = "flanneld"

const agentHelp = `Make this host a node of a flannel network, in the place of flanneld: lease a
subnet in etcd, reach those of the other nodes, and tell container runtimes
by a file. Flags are written as flanneld's are, -name or --name with its value
behind = or blank (a switch takes it behind = alone); each is also read from a
variable of the environment, FLANNELD_ETCD_ENDPOINTS for --etcd-endpoints. The
program does the same when it is called flanneld.

SIGTERM, SIGINT and SIGQUIT end the agent and leave devices, routes, rules and
the lease, so that no packet is lost until another one takes over. --cleanup
takes them back instead of starting.

Usage:
  weft agent [flags]

Flags:
`

// agentCommand leaves its flags to agentFlags: flanneld's have Go's form, which
// cobra does not read.
func (a *app) agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                "agent [flags]",
		Short:              "Be a node of a flannel network",
		DisableFlagParsing: true,
		ValidArgsFunction:  completeAgent,
		RunE:               func(cmd *cobra.Command, words []string) error { return a.agent(cmd.Context(), words) },
	}
	cmd.SetHelpFunc(func(*cobra.Command, []string) { a.printAgentHelp() })
	return cmd
}

func (a *app) agent(ctx context.Context, words []string) error {
	f := newAgentFlags()
	switch err := f.parse(words); {
	case errors.Is(err, flag.ErrHelp):
		a.printAgentHelp()
		return nil
	case err != nil:
		return err
	case f.version: // on standard error, as flanneld has it
		a.printError(builtVersion().Version)
		return nil
	}
	o, err := f.options(a.err)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // a second signal ends the process at once
	if f.cleanup {
		return agent.Cleanup(ctx, o)
	}
	return agent.Run(ctx, o)
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

const monitorHelp = `Print changes of the forwarding databases of this network namespace as they
happen, one line each, in the lines of "bridge monitor fdb". An entry that
aged out is told as "Deleted ... stale". Links with l2miss and l3miss tell
what they miss, in the lines of "ip monitor neigh".

The monitor asks all daemons of this machine, those that start later too, and
ends with SIGINT or SIGTERM. With -j each line is one object.`

// monitored is what the words of `weft monitor` say.
type monitored struct{ dev string }

var monitorWords = grammar[monitored]{
	words: map[string]word[monitored]{
		"fdb": {"fdb", func(*cursor, *monitored) error { return nil }},
		"dev": {"dev", func(c *cursor, into *monitored) (err error) { into.dev, err = c.deviceName(); return err }},
	},
	aliases: map[string]string{"all": "fdb"},
	refused: reasons("is not something that weft changes: use `bridge monitor` or `ip monitor`", "link mdb vlan vni address route neigh file"),
}

func (a *app) monitorCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "monitor [fdb] [dev NAME]",
		Short:             "Print changes of forwarding databases as they happen",
		Long:              monitorHelp,
		ValidArgsFunction: completeWords(monitorWords.names),
		RunE: func(cmd *cobra.Command, words []string) error {
			var w monitored
			if err := monitorWords.read(&cursor{words: words}, &w); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return a.monitor(ctx, w.dev)
		},
	}
}

// monitor prints until ctx ends, or nobody takes what it prints.
func (a *app) monitor(ctx context.Context, dev string) error {
	dir, err := control.RunDirFromEnv()
	if err != nil {
		return err
	}
	netns, err := control.NetNS()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &eventPrinter{out: a.out, json: a.json, netns: netns, broken: cancel, complain: a.complain}
	if dev != "" {
		l, err := theLink(control.OpList, dev)
		if err != nil {
			return err
		}
		p.only = l.device.Index
	}
	if err := watchDaemons(ctx, dir, p.follow); err != nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// eventPrinter prints what several daemons tell.
type eventPrinter struct {
	json     bool
	netns    uint64 // of the links that are told of
	only     int    // index of the only one, or 0
	broken   context.CancelCauseFunc
	complain func(string, ...any)

	mu  sync.Mutex
	out io.Writer
}

// follow prints what the daemon on a socket tells, until it ends or ctx does.
func (p *eventPrinter) follow(ctx context.Context, socket string) heard {
	conn, err := control.Dial(ctx, socket)
	if err != nil {
		return p.failed(ctx, socket, err)
	}
	defer conn.Close()
	known := eventLinks{socket: socket, netns: p.netns}
	result := nobody
	err = conn.Stream(ctx, control.Request{Op: control.OpMonitor}, func(resp control.Response) error {
		if resp.Closing {
			return io.EOF
		}
		result = ended
		for i := range resp.Events {
			p.print(ctx, &known, &resp.Events[i])
		}
		return refusal(resp)
	})
	if err != nil && p.failed(ctx, socket, err) == refused {
		return refused
	}
	return result
}

// failed tells people why a daemon is not followed, unless it has ended.
func (p *eventPrinter) failed(ctx context.Context, socket string, err error) heard {
	if ctx.Err() != nil || control.Dead(err) {
		return nobody
	}
	p.complain("%s", unanswered(socket, err))
	return refused
}

// print prints one event in one write, so that whoever reads a pipe has it at
// once and whole.
func (p *eventPrinter) print(ctx context.Context, known *eventLinks, e *dataplane.FDBEvent) {
	if e.Kind == dataplane.EventLost {
		p.complain("%d changes were not told: the monitor was not read fast enough", e.Lost)
	} else if e.NetNS != p.netns || p.only != 0 && e.Index != p.only {
		return
	}
	text, err := p.text(known.of(ctx, e), e)
	if err == nil && len(text) > 0 {
		p.mu.Lock()
		_, err = p.out.Write(text)
		p.mu.Unlock()
	}
	if err != nil {
		p.broken(err)
	}
}

// missJSON is a miss under the keys of ip.
type missJSON struct {
	Miss   bool     `json:"miss"`
	Dst    string   `json:"dst,omitempty"`
	Dev    string   `json:"dev"`
	LLAddr string   `json:"lladdr,omitempty"`
	State  []string `json:"state"`
}

// text is the line of an event. What was lost is a line only in JSON, where a
// program could not know what it reads on standard error.
func (p *eventPrinter) text(l *foundLink, e *dataplane.FDBEvent) ([]byte, error) {
	switch e.Kind {
	case dataplane.EventNew, dataplane.EventDeleted:
		line := l.fdbLine(&e.Entry)
		line.IfName, line.Deleted, line.Used, line.Updated = e.Link, e.Kind == dataplane.EventDeleted, nil, nil
		if p.json {
			return jsonLine(line)
		}
		return line.appendText(nil), nil
	case dataplane.EventMiss:
		if p.json {
			return jsonLine(missJSON{Miss: true, Dev: e.Link, LLAddr: e.Entry.MAC.String(), State: []string{"STALE"}})
		}
		return fmt.Appendf(nil, "miss dev %s lladdr %s STALE \n", e.Link, e.Entry.MAC), nil
	case dataplane.EventIPMiss:
		if p.json {
			return jsonLine(missJSON{Miss: true, Dst: e.Address.String(), Dev: e.Link, State: []string{"STALE"}})
		}
		return fmt.Appendf(nil, "miss %s dev %s STALE \n", e.Address, e.Link), nil
	case dataplane.EventLost:
		if p.json {
			return jsonLine(map[string]uint64{"lost": e.Lost})
		}
	}
	return nil, nil
}

func jsonLine(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append(text, '\n'), err
}

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

const routeChangeUsage = ` PREFIX [via VTEP] [lladdr MAC] [vni VNI] [port PORT] dev NAME`

const routeChangeHelp = `

The words are those of "ip route", in any order. Links of "type udp" and of
"type vxlan ... l3" have routes; of those that a packet's destination is in,
that with the longest prefix says where it goes.

  PREFIX   10.1.2.0/24, fd00:1::/64, an address alone, or default (0.0.0.0/0)
  via      VTEP that the prefix is behind; without it the link's remote
  lladdr   with l3: the MAC address of the link's device there
  vni      with l3: VNI there; without it the link's
  port     UDP port of that VTEP; without it the link's

What is said of a route that is deleted has to be so.`

func (a *app) routeCommand() *cobra.Command {
	route := &cobra.Command{Use: "route", Short: "Show and change which VTEP an IP prefix is behind"}
	route.AddCommand(a.routeShowCommand(), a.routeGetCommand())
	for _, op := range []struct {
		op          dataplane.RouteOp
		short, long string
		aliases     []string
	}{
		{dataplane.RouteAdd, "Add a route", "Add a route for a prefix that has none.", nil},
		{dataplane.RouteReplace, "Make or change a route", "Make a route, or change the one that is there: packets go the old way or\nthe new one, and none is lost.", nil},
		{dataplane.RouteDelete, "Delete a route", "Delete the route of a prefix.", []string{"delete"}},
	} {
		cmd := routeChangeCommand(op.op)
		cmd.Short, cmd.Long, cmd.Aliases = op.short, op.long+routeChangeHelp, op.aliases
		route.AddCommand(cmd)
	}
	choose(route, func() error { return a.showRoutes("") })
	return route
}

func (a *app) routeShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show [dev NAME]",
		Aliases: []string{"list", "ls", "lst"},
		Short:   "Show the routes of links, as `ip route` does",
		Long: `Show routes by prefix, IPv4 before IPv6, in the lines of "ip route". Without dev
those of all links of this network namespace that have routes.`,
		ValidArgsFunction: completeWords(routeShowWords.names),
		RunE: func(_ *cobra.Command, words []string) error {
			var l newLink
			if err := routeShowWords.read(&cursor{words: words}, &l); err != nil {
				return err
			}
			return a.showRoutes(l.cfg.Name)
		},
	}
}

var routeShowWords = grammar[newLink]{
	words:   map[string]word[newLink]{"dev": {"dev", takeName}},
	refused: reasons("of `ip route show` is not served", "to root match exact table proto protocol via src scope type cache cached"),
	bare:    bareName,
}

func (a *app) routeGetCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "get IP dev NAME",
		Short:             "Show which way packets to an address take",
		Example:           "  weft route get 10.1.2.3 dev flannel0",
		ValidArgsFunction: completeWords(routeGetWords.names),
		RunE: func(_ *cobra.Command, words []string) error {
			q, err := readRouteQuery(words)
			if err != nil {
				return err
			}
			return a.getRoute(q)
		},
	}
}

func routeChangeCommand(op dataplane.RouteOp) *cobra.Command {
	return &cobra.Command{
		Use:               string(op) + routeChangeUsage,
		Example:           fmt.Sprintf("  weft route %s 10.1.2.0/24 via 192.0.2.2 dev flannel0", op),
		ValidArgsFunction: completeWords(routeWords.names),
		RunE: func(_ *cobra.Command, words []string) error {
			w, err := readRouteChange(op, words)
			if err != nil {
				return err
			}
			l, err := theLink(control.OpList, w.dev)
			if err != nil {
				return err
			}
			_, err = changeRoutes(&l, []dataplane.RouteChange{w.change})
			return err
		},
	}
}

// changeRoutes carries out changes in turn, up to the first that fails, and
// returns how many were carried out.
func changeRoutes(l *foundLink, changes []dataplane.RouteChange) (carriedOut int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	resp, err := l.call(ctx, control.Request{Op: control.OpRouteChange, Routes: changes})
	return resp.Count, outcome(resp, err)
}

func (a *app) getRoute(q *routeQuery) error {
	l, err := theLink(control.OpList, q.dev)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	resp, err := l.call(ctx, control.Request{Op: control.OpRoute, To: q.to})
	if err := outcome(resp, err); err != nil {
		return err
	}
	p := newTablePrinter(a.out, a.json)
	for i := range resp.Routes {
		line := l.routeLine(&resp.Routes[i])
		line.Match, line.Dst = line.Dst, q.to.String()
		if err := p.print(&line); err != nil {
			return err
		}
	}
	return p.close()
}

// showRoutes prints what could be found out, then says what could not.
func (a *app) showRoutes(name string) error {
	found, err := find(control.OpList, name)
	p := newTablePrinter(a.out, a.json)
	for i := range found {
		l := &found[i]
		if name == "" && !l.info.Routed() {
			continue
		}
		showErr := dumpRoutes(l, func(e *dataplane.RouteEntry) error {
			line := l.routeLine(e)
			if name != "" {
				line.Dev = ""
			}
			return p.print(&line)
		})
		err = errors.Join(err, showErr)
	}
	return errors.Join(p.close(), err)
}

// dumpRoutes hands every route of a link to take as it arrives.
func dumpRoutes(l *foundLink, take func(*dataplane.RouteEntry) error) error {
	return l.dump(control.OpRoutes, "routes", func(resp *control.Response) (some bool, err error) {
		for i := range resp.Routes {
			if err := take(&resp.Routes[i]); err != nil {
				return true, err
			}
		}
		return len(resp.Routes) > 0, nil
	})
}

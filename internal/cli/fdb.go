package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

const fdbChangeUsage = ` MAC dev NAME [dst IP] [port PORT] [vni VNI] [via IF] [self]
    [permanent|static|dynamic] [router] [extern_learn]`

const fdbChangeHelp = `

The words are those of "bridge fdb" for a vxlan device, in any order.

  MAC         the address, or 00:00:00:00:00:00 for whatever has no entry
  dst         VTEP that it is behind
  port        UDP port of that VTEP; without it, or with 0, the link's dstport
  vni         VNI there; without it the link's
  via         device of the underlay to send from
  permanent   never ages and is never learnt anew (default; also: local)
  static      the same under another name (also: temp)
  dynamic     ages, follows the address, and goes when the device goes down
  self        no effect: every entry is the link's own`

func (a *app) fdbCommand() *cobra.Command {
	fdb := &cobra.Command{Use: "fdb", Short: "Show and change which VTEP a MAC address is behind"}
	fdb.AddCommand(a.fdbShowCommand(), fdbFlushCommand())
	for _, op := range []struct {
		op          dataplane.FDBOp
		short, long string
		aliases     []string
	}{
		{dataplane.FDBAdd, "Add an entry", "Add an entry for an address that has none.", nil},
		{dataplane.FDBAppend, "Add one more VTEP to a group address", "Add one more VTEP to the entry of a multicast address or of\n00:00:00:00:00:00. Each VTEP of it gets a copy of each frame.", nil},
		{dataplane.FDBReplace, "Make or change an entry", "Make an entry, or change the one that is there.", nil},
		{dataplane.FDBDelete, "Delete an entry", "Delete the entry of an address, or with dst one VTEP of it.", []string{"delete"}},
	} {
		cmd := fdbChangeCommand(op.op)
		cmd.Short, cmd.Long, cmd.Aliases = op.short, op.long+fdbChangeHelp, op.aliases
		fdb.AddCommand(cmd)
	}
	choose(fdb, func() error { return a.showFDB("") })
	return fdb
}

func (a *app) fdbShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show [dev NAME]",
		Aliases: []string{"list", "lst"},
		Short:   "Show the forwarding database as `bridge fdb` does",
		Long: `Show the forwarding database, newest entry first, in the lines of "bridge
fdb". Without dev those of all links of this network namespace. For a port of
a bridge that bridge's own entries come first.

With -s "used A/B" tells the seconds since a frame was sent by the entry, and
since one came from there.`,
		ValidArgsFunction: completeWords(fdbShowWords.names),
		RunE: func(_ *cobra.Command, words []string) error {
			var l newLink
			if err := fdbShowWords.read(&cursor{words: words}, &l); err != nil {
				return err
			}
			return a.showFDB(l.cfg.Name)
		},
	}
}

func fdbChangeCommand(op dataplane.FDBOp) *cobra.Command {
	return &cobra.Command{
		Use:               string(op) + fdbChangeUsage,
		Example:           fmt.Sprintf("  weft fdb %s 00:00:00:00:00:00 dev vxlan0 dst 10.99.0.3", op),
		ValidArgsFunction: completeWords(fdbWords.names),
		RunE: func(_ *cobra.Command, words []string) error {
			w, err := readFDBChange(op, words)
			if err != nil {
				return err
			}
			l, err := theLink(control.OpList, w.dev)
			if err != nil {
				return err
			}
			_, err = changeFDB(&l, []dataplane.FDBChange{w.change})
			return err
		},
	}
}

// changeFDB carries out changes in turn, up to the first that fails, and
// returns how many were carried out.
func changeFDB(l *foundLink, changes []dataplane.FDBChange) (carriedOut int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	resp, err := l.call(ctx, control.Request{Op: control.OpChange, Changes: changes})
	return resp.Count, outcome(resp, err)
}

// showFDB prints what could be found out, then says what could not.
func (a *app) showFDB(name string) error {
	found, err := find(control.OpList, name)
	p := newFDBPrinter(a.out, a.json, a.statistics)
	for i := range found {
		if name == "" && found[i].info.Routed() {
			continue // it has none
		}
		if showErr := p.showLink(&found[i], name == ""); showErr != nil {
			err = errors.Join(err, showErr)
		}
	}
	return errors.Join(p.close(), err)
}

// showLink prints the entries of one link: those of its bridge, then its own.
func (p *fdbPrinter) showLink(l *foundLink, named bool) error {
	bridged, err := bridgeEntries(l.device)
	if err != nil {
		return err
	}
	for i := range bridged {
		if err := p.print(bridged[i], named); err != nil {
			return err
		}
	}
	return dumpFDB(l, func(e *dataplane.FDBEntry) error { return p.print(l.fdbLine(e), named) })
}

// dumpFDB hands every entry of a link to take as it arrives, so that a large
// table is never held as a whole.
func dumpFDB(l *foundLink, take func(*dataplane.FDBEntry) error) error {
	return l.dump(control.OpFDB, "table", func(resp *control.Response) (some bool, err error) {
		for i := range resp.FDB {
			if err := take(&resp.FDB[i]); err != nil {
				return true, err
			}
		}
		return len(resp.FDB) > 0, nil
	})
}

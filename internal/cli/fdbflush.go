package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// newFlush is what the words of `weft fdb flush` say.
type newFlush struct {
	dev    string
	filter dataplane.FDBFilter
}

var flushWords = grammar[newFlush]{
	words: map[string]word[newFlush]{
		"dev":  {"dev", func(c *cursor, into *newFlush) (err error) { into.dev, err = c.deviceName(); return err }},
		"self": {"self", func(*cursor, *newFlush) error { return nil }},
		"dst":  {"dst", func(c *cursor, into *newFlush) (err error) { into.filter.Dst, err = c.address(); return err }},
		"port": {"port", takeFlushPort},
		"vni":  {"vni", takeFlushVNI},

		"permanent": kind("permanent"), "nopermanent": kind("permanent"),
		"static": kind("static"), "nostatic": kind("static"),
		"dynamic": kind("dynamic"), "nodynamic": kind("dynamic"),
		"extern_learn": kind("extern_learn"), "noextern_learn": kind("extern_learn"),
		"router": kind("router"), "norouter": kind("router"),
	},
	refused: fdbRefused,
}

// kind is a word that says which entries are meant, or with "no" in front,
// which are not.
func kind(property string) word[newFlush] {
	return word[newFlush]{property, func(c *cursor, into *newFlush) error {
		into.filter.Words = append(into.filter.Words, c.word)
		return nil
	}}
}

func takeFlushPort(c *cursor, into *newFlush) error {
	port, err := c.port()
	into.filter.Port = &port
	return err
}

func takeFlushVNI(c *cursor, into *newFlush) error {
	vni, err := c.vni()
	into.filter.VNI = &vni
	return err
}

func readFlush(words []string) (*newFlush, error) {
	var w newFlush
	if err := flushWords.read(&cursor{words: words}, &w); err != nil {
		return nil, err
	}
	if w.dev == "" {
		return nil, usagef("no link given: `fdb flush` needs `dev NAME`")
	}
	return &w, nil
}

func fdbFlushCommand() *cobra.Command {
	return &cobra.Command{
		Use: `flush dev NAME [self] [vni VNI] [port PORT] [dst IP]
    [[no]permanent] [[no]static] [[no]dynamic] [[no]extern_learn] [[no]router]`,
		Short: "Remove all entries, or those that match",
		Long: `Remove the entries for which all that is given holds. Without any such word
the whole table is removed, the entry that "remote" made included. vni, port
and dst are matched with each VTEP of an entry, and the entry goes with the
last one of them.`,
		Example:           "  weft fdb flush dev vxlan0 dynamic dst 10.99.0.2",
		ValidArgsFunction: completeWords(flushWords.names),
		RunE: func(_ *cobra.Command, words []string) error {
			w, err := readFlush(words)
			if err != nil {
				return err
			}
			l, err := theLink(control.OpList, w.dev)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
			defer cancel()
			return outcome(l.call(ctx, control.Request{Op: control.OpFlush, Flush: &w.filter}))
		},
	}
}

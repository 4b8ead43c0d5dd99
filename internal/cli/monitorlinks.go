package cli

import (
	"context"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// eventLinks are those of one daemon, as far as the lines of their events need
// them. It is for one goroutine.
type eventLinks struct {
	socket string
	netns  uint64
	known  map[int]*foundLink // by the device's index in netns
}

// of returns the link that an event is of. When it is not known yet the daemon
// is asked; when that one does not know it any more, a link is returned whose
// port and VNI are those of the entry, so that the line names neither.
func (ls *eventLinks) of(ctx context.Context, e *dataplane.FDBEvent) *foundLink {
	if l, ok := ls.known[e.Index]; ok {
		return l
	}
	ls.ask(ctx)
	if l, ok := ls.known[e.Index]; ok {
		return l
	}
	info := dataplane.LinkInfo{NetNS: e.NetNS, Index: e.Index}
	info.Port, info.VNI = e.Entry.Port, e.Entry.VNI
	return &foundLink{socket: ls.socket, info: info, device: &netlink.LinkAttrs{Name: e.Link}}
}

func (ls *eventLinks) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	found, _ := ask(ctx, ls.socket, control.OpList) // who does not answer ends the stream too
	ls.known = map[int]*foundLink{}
	for i := range found {
		if l := &found[i]; l.info.NetNS == ls.netns {
			l.device = &netlink.LinkAttrs{Name: l.info.Name, Index: l.info.Index}
			ls.known[l.info.Index] = l
		}
	}
}

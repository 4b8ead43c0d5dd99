package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
)

// foundLink is a link whose device is in the caller's network namespace. Its
// daemon may serve another one, from which the device was moved here.
type foundLink struct {
	socket string
	info   dataplane.LinkInfo
	stats  *dataplane.Stats
	device *netlink.LinkAttrs
}

// linksHere asks all daemons of the run directory and returns the links that
// are in the caller's network namespace, by device index. Daemons that ended
// without removing their socket are passed over; the error tells of those
// that did not answer, and the links are then those of the others.
func linksHere(op control.Op) ([]foundLink, error) {
	dir, err := control.RunDirFromEnv()
	if err != nil {
		return nil, err
	}
	netns, err := control.NetNS()
	if err != nil {
		return nil, err
	}
	sockets, err := dir.Sockets()
	if err != nil {
		return nil, err
	}
	answers, err := askAll(sockets, op)
	return inNamespace(answers, netns), err
}

// askAll puts one request to all sockets at once.
func askAll(sockets []string, op control.Op) ([]foundLink, error) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	links, errs := make([][]foundLink, len(sockets)), make([]error, len(sockets))
	var wg sync.WaitGroup
	for i, socket := range sockets {
		wg.Go(func() { links[i], errs[i] = ask(ctx, socket, op) })
	}
	wg.Wait()
	return slices.Concat(links...), errors.Join(errs...)
}

func ask(ctx context.Context, socket string, op control.Op) ([]foundLink, error) {
	resp, err := control.Call(ctx, socket, control.Request{Op: op})
	if control.Dead(err) {
		return nil, nil
	}
	if err = outcome(resp, err); err != nil {
		return nil, unanswered(socket, err)
	}
	var found []foundLink
	for _, l := range resp.Links {
		found = append(found, foundLink{socket: socket, info: l.Info, stats: l.Stats})
	}
	return found, nil
}

func unanswered(socket string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("daemon at %s: permission denied: links are shown to root and to the daemon's own user; run as one of them", socket)
	}
	return fmt.Errorf("daemon at %s: %w", socket, err)
}

// inNamespace keeps what has a device in the namespace and looks the device
// up: its name may have been changed since its daemon last saw it.
func inNamespace(all []foundLink, netns uint64) []foundLink {
	var here []foundLink
	for _, l := range all {
		if l.info.NetNS != netns {
			continue
		}
		device, err := netlink.LinkByIndex(l.info.Index)
		if err != nil {
			continue // deleted a moment ago
		}
		l.device = device.Attrs()
		here = append(here, l)
	}
	slices.SortFunc(here, func(a, b foundLink) int { return a.device.Index - b.device.Index })
	return here
}

// find returns the link called name, or all links when name is empty.
func find(op control.Op, name string) ([]foundLink, error) {
	if name == "" {
		return linksHere(op)
	}
	one, err := theLink(op, name)
	if err != nil {
		return nil, err
	}
	return []foundLink{one}, nil
}

// theLink returns the link called name.
func theLink(op control.Op, name string) (foundLink, error) {
	all, err := linksHere(op)
	i := slices.IndexFunc(all, func(l foundLink) bool { return l.device.Name == name })
	if i >= 0 {
		return all[i], nil
	}
	if err != nil {
		return foundLink{}, fmt.Errorf("link %q was not found, but not all daemons could be asked: %w", name, err)
	}
	return foundLink{}, notHere(name, all)
}

// call puts a request about the link to its daemon. That hears of a device's
// new name a moment after the device has it, so the link may be known under
// another name by now than the daemon told.
func (l *foundLink) call(ctx context.Context, req control.Request) (control.Response, error) {
	for {
		req.Name = l.info.Name
		resp, err := control.Call(ctx, l.socket, req)
		if err != nil || resp.OK || resp.Count > 0 || !l.renamed() {
			return resp, err
		}
	}
}

// renamed asks what the daemon calls the link now, and reports whether that is
// new.
func (l *foundLink) renamed() bool {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	before := l.info.Name
	all, _ := ask(ctx, l.socket, control.OpList) // who does not answer calls it nothing new
	for _, now := range all {
		if now.info.NetNS == l.info.NetNS && now.info.Index == l.info.Index {
			l.info = now.info
		}
	}
	return l.info.Name != before
}

func notHere(name string, all []foundLink) error {
	if _, err := netlink.LinkByName(name); err == nil {
		return fmt.Errorf("device %q is not weft's: use `ip link` for it", name)
	}
	if len(all) == 0 {
		return fmt.Errorf("no link %q: this network namespace has none of weft's; `weft link add` creates one", name)
	}
	names := make([]string, len(all))
	for i, l := range all {
		names[i] = l.device.Name
	}
	return fmt.Errorf("no link %q: this network namespace has %s", name, strings.Join(names, ", "))
}

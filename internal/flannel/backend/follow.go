package backend

import (
	"errors"
	"iter"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
)

// Peers is how a backend takes note of what it is told of the peers. What it
// took note of it programs afterwards, all at once.
type Peers struct {
	Set   func(*lease.Lease) error // wants a peer as its lease says
	Unset func(name string)        // does not want it any more, if it did
}

// Reset sets the peers, and unsets those that are known and not among them.
func (p Peers) Reset(peers []lease.Lease, known iter.Seq[string]) error {
	present := make(map[string]struct{}, len(peers))
	var errs []error
	for i := range peers {
		present[peers[i].Name] = struct{}{}
		errs = append(errs, p.Set(&peers[i]))
	}
	for name := range known {
		if _, ok := present[name]; !ok {
			p.Unset(name)
		}
	}
	return errors.Join(errs...)
}

// Apply follows events.
func (p Peers) Apply(events []registry.Event) error {
	var errs []error
	for i := range events {
		if events[i].Kind == registry.Removed {
			p.Unset(events[i].Lease.Name)
		} else {
			errs = append(errs, p.Set(&events[i].Lease))
		}
	}
	return errors.Join(errs...)
}

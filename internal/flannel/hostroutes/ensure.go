package hostroutes

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// ensure has every route of the set in the kernel, and returns those that were
// not.
func (s *Set) ensure(t *table) (put []Route, err error) {
	var errs []error
	for _, dst := range slices.SortedFunc(maps.Keys(s.wanted), netip.Prefix.Compare) {
		changed, err := s.ensureOne(t, s.wanted[dst])
		errs = append(errs, err)
		if changed && err == nil {
			put = append(put, s.wanted[dst].Route)
		}
	}
	return put, errors.Join(errs...)
}

// add puts routes into the set and the kernel. To read the whole table for each
// that comes would be slow, so this is left to those that are not alone.
func (s *Set) add(routes []Route) error {
	devices := s.kernel.devices()
	var errs []error
	var rest []*entry
	for _, r := range routes {
		e, before := &entry{Route: r}, s.wanted[r.Dst]
		s.wanted[r.Dst] = e
		if !s.alone(devices, e, before) {
			rest = append(rest, e)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	t, err := s.kernel.read()
	if err != nil {
		return err
	}
	for _, e := range rest {
		_, err := s.ensureOne(t, e)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// alone puts a route in where there is none to the same prefix, or in place of
// the one that the set had there. Otherwise it returns false. An IPv6 route
// with a metric that counts more is left to the next look at the table.
func (s *Set) alone(d *devices, e, before *entry) bool {
	var err error
	if e.index, err = d.find(e.Device); err != nil || e.sane() != nil {
		return false
	}
	if before == nil {
		return s.kernel.handle.RouteAdd(e.request(e.index)) == nil
	}
	return before.told == "" && s.kernel.handle.RouteReplace(e.request(e.index)) == nil
}

// ensureOne has one route in the kernel, and none to the same prefix that would
// be used in its place or beside it. It reports whether it had to do anything.
func (s *Set) ensureOne(t *table, e *entry) (changed bool, err error) {
	e.told = ""
	if changed, err = s.put(t, e); err != nil {
		err = fmt.Errorf("route %v: %w", e.Route, err)
		e.told = err.Error()
	}
	return changed, err
}

func (s *Set) put(t *table, e *entry) (changed bool, err error) {
	if err = e.sane(); err != nil {
		return false, err
	}
	if e.index, err = t.find(e.Device); err != nil {
		return false, err
	}
	have := t.to[e.Dst]
	for range putTries {
		rivals, there := e.among(have)
		if there && len(rivals) == 0 {
			return changed, nil
		}
		if !changed {
			s.tell(t, e, rivals)
		}
		changed = true
		if err = s.oust(e, rivals, there); err != nil || len(rivals) == 0 {
			return changed, err
		}
		again, err := s.kernel.read()
		if err != nil {
			return changed, err
		}
		have = again.to[e.Dst]
	}
	return changed, errors.New("others put theirs in its place all the time")
}

// putTries is more than rivals should take. Some take two: asked to delete an
// IPv6 route without a gateway, the kernel deletes the first one that leaves by
// the same device.
const putTries = 5

// oust puts a route in, where the kernel has it take the place of a rival if
// there is one, or deletes the rivals of one that is there.
func (s *Set) oust(e *entry, rivals []netlink.Route, there bool) (err error) {
	if !there {
		// EEXIST: it has been put there meanwhile.
		err = s.kernel.handle.RouteReplace(e.request(e.index))
		if err == nil || errors.Is(err, unix.EEXIST) {
			return nil
		}
		return e.explain(err)
	}
	for i := range rivals {
		err = errors.Join(err, s.kernel.del(&rivals[i]))
	}
	return err
}

// tell says whose routes are taken away.
func (s *Set) tell(t *table, e *entry, rivals []netlink.Route) {
	for i := range rivals {
		s.o.Log.Warn("another route is in the place of one to a node and is taken away",
			zap.String("found", t.describe(&rivals[i])), zap.Stringer("wanted", e.Route))
	}
}

// among returns the other routes to the same prefix but those that count less,
// and whether e's own is there. Over IPv6, one that counts the same gets half
// of the packets.
func (e *entry) among(have []netlink.Route) (rivals []netlink.Route, there bool) {
	for i := range have {
		switch r := &have[i]; {
		case e.is(r, e.index):
			there = true
		case r.Tos == 0 && r.Priority <= metric(e.Dst):
			rivals = append(rivals, *r)
		}
	}
	return rivals, there
}

// remove takes a route that has left the set out of the kernel. One that
// somebody else has put in its place stays.
func (s *Set) remove(e *entry) error {
	if e.index == 0 {
		return nil // it never was there
	}
	r := e.request(e.index)
	r.Protocol, r.Priority = 0, metric(e.Dst) // whoever put it
	return s.kernel.del(r)
}

// del deletes what was read. It may be gone.
func (k *kernel) del(r *netlink.Route) error {
	err := k.handle.RouteDel(r)
	if err == nil || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("take away the route %s: %w", k.devices().describe(r), err)
}

// sane refuses a route that would take the way to its own gateway away, and
// with it this host from its network: a lease in etcd may say anything.
func (r Route) sane() error {
	switch {
	case !r.Gateway.IsValid():
		return nil
	case r.Gateway.IsUnspecified(), r.Gateway.IsLoopback(), r.Gateway.IsMulticast():
		return fmt.Errorf("%v is no address of a node", r.Gateway)
	case !r.Onlink && r.Dst.Contains(r.Gateway):
		return fmt.Errorf("the gateway is itself in %v", r.Dst)
	}
	return nil
}

// explain says of what the kernel refuses what a person may change.
func (r Route) explain(err error) error {
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%v is not directly reachable through %s: %w", r.Gateway, r.Device, err)
	case errors.Is(err, unix.ENETDOWN):
		return fmt.Errorf("%s is down: %w", r.Device, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("to set routes takes root or CAP_NET_ADMIN in this network namespace: %w", err)
	}
	return err
}

//go:build linux

package netfilter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Keeper keeps the rules of the network namespace of the thread that calls it.
// Its methods may be called from any goroutine.
type Keeper struct {
	log    *zap.Logger
	beside func() ([]Rules, error)

	mu       sync.Mutex
	want     Rules
	noCompat bool // the kernel was found to lack iptables' extensions
	noNFT    bool // it is to be taken for one without nf_tables
	settled  settled
	hint     string // about chains that drop, as the log has it
}

// settled is a state in which everything was found in order: a generation of
// nf_tables' rules, 0 for none, what is to be in iptables-legacy, and what all
// agents wanted.
type settled struct {
	generation uint32
	uses       uses
	want       string
}

// New makes a keeper that does nothing yet. Where a host is a node of several
// networks, beside tells what the other agents of the network namespace want;
// it may be nil. Each of them then writes the rules of all.
func New(log *zap.Logger, beside func() ([]Rules, error)) *Keeper {
	return &Keeper{log: log, beside: beside}
}

// all is what all agents of the namespace want.
func (k *Keeper) all() ([]Rules, error) {
	if k.beside == nil {
		return []Rules{k.want}, nil
	}
	others, err := k.beside()
	if err != nil {
		return nil, fmt.Errorf("ask what other agents want: %w", err)
	}
	return append(others, k.want), nil
}

// Apply makes the rules stand, and no others of this kind but for those of other
// agents: what a former process made for another network goes, as does what
// flanneld left. What is as it should be is not touched; what is not is replaced
// in one transaction, so that no packet meets half of it.
func (k *Keeper) Apply(ctx context.Context, r Rules) error {
	if err := r.validate(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.want, k.settled = r, settled{}
	return k.keep(ctx, "packet filter rules written")
}

// Resync looks at the rules, and writes anew what somebody took away. It costs
// next to nothing while nothing changed, and is to be called again and again:
// only nf_tables would tell of a change, iptables-legacy does not.
func (k *Keeper) Resync(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keep(ctx, "packet filter rules were changed by somebody and are written anew")
}

// Remove takes away all that this or a former process made, and leaves what
// other agents want. It needs no Apply.
func (k *Keeper) Remove(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.want, k.settled = Rules{}, settled{}
	return k.keep(ctx, "packet filter rules taken away")
}

// tries is how often a change is tried that others' changes got in the way of.
const tries = 5

func (k *Keeper) keep(ctx context.Context, done string) error {
	wrote, err := k.persist(ctx)
	if errors.Is(err, unix.ENOENT) && !k.noCompat {
		// It was not the rules of others that were gone, but an extension.
		k.noCompat = true
		var more []string
		more, err = k.persist(ctx)
		wrote = append(wrote, more...)
	}
	if len(wrote) > 0 {
		k.log.Info(done, zap.String("in", strings.Join(wrote, ", ")))
	}
	if err != nil {
		return explain(err)
	}
	return nil
}

func (k *Keeper) persist(ctx context.Context) (wrote []string, err error) {
	for range tries {
		var more []string
		more, err = k.once(ctx)
		wrote = append(wrote, more...)
		if !overtaken(err) || ctx.Err() != nil {
			break
		}
	}
	return wrote, err
}

// overtaken reports whether somebody else changed the rules between reading and
// writing: what was to be changed is gone, or is in use.
func overtaken(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) ||
		errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
}

func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("packet filter: %w; it takes root or CAP_NET_ADMIN in this network namespace", err)
	}
	return fmt.Errorf("packet filter: %w", err)
}

// once brings everything to what is wanted, and names the places that it wrote.
// What is to come comes before what is to go.
func (k *Keeper) once(ctx context.Context) ([]string, error) {
	w, err := k.look()
	defer w.close()
	errs := []error{err, w.syncLegacy(ctx, true)}
	if w.reader != nil {
		errs = append(errs, k.syncNFT(w))
	}
	errs = append(errs, w.syncLegacy(ctx, false))
	return w.written(), errors.Join(errs...)
}

// syncNFT writes both families in one transaction, unless nothing changed since
// all was found in order.
func (k *Keeper) syncNFT(w *work) error {
	generation, err := w.reader.generation()
	if err != nil {
		return err
	}
	now := settled{generation, w.uses, fmt.Sprint(w.sides)}
	if now == k.settled {
		return nil
	}
	if err := w.writeNFT(!k.noCompat); err != nil {
		return err
	}
	k.tellOf(w.droppers)
	if len(w.wrote) == 0 {
		k.settled = now
	}
	return nil
}

// tellOf logs which chains drop all the same: an accept would have to stand in
// them, and they belong to others.
func (k *Keeper) tellOf(droppers []string) {
	hint := strings.Join(droppers, ", ")
	if hint != k.hint && hint != "" {
		k.log.Warn("chains drop what they do not accept themselves, and are not iptables'; have them accept the network's traffic",
			zap.String("chains", hint), zap.Stringer("network", k.want.Network), zap.Stringer("network6", k.want.Network6))
	}
	k.hint = hint
}

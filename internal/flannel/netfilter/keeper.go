//go:build linux

package netfilter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Keeper keeps the rules of the network namespace of the thread that calls it.
type Keeper struct {
	log *zap.Logger

	mu       sync.Mutex
	want     Rules
	noCompat bool   // the kernel was found to lack iptables' extensions
	settled  uint32 // the generation of nf_tables' rules that was found in order; 0 for none
}

// New makes a keeper that does nothing yet.
func New(log *zap.Logger) *Keeper { return &Keeper{log: log} }

// Apply makes the rules stand, and no others of this kind: those that a former
// process made for another network go, as do those that flanneld left. What is
// as it should be is not touched; what is not is replaced in one transaction,
// so that no packet meets half of it.
func (k *Keeper) Apply(ctx context.Context, r Rules) error {
	if err := r.validate(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.want, k.settled = r, 0
	return k.keep(ctx, "packet filter rules written")
}

// Run looks at the rules again and again, until ctx ends, and writes those anew
// that somebody took away. Apply comes first.
func (k *Keeper) Run(ctx context.Context, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		err := k.Resync(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && err.Error() != last {
			k.log.Error("the packet filter rules could not be kept, this is tried again", zap.Error(err))
		}
		last = fmt.Sprint(err)
	}
}

// Resync looks at the rules once, and writes anew what is missing.
func (k *Keeper) Resync(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keep(ctx, "packet filter rules were changed by somebody and are written anew")
}

// Remove takes away all that this or a former process made. It needs no Apply.
func (k *Keeper) Remove(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.want, k.settled = Rules{}, 0
	return k.keep(ctx, "packet filter rules taken away")
}

// tries is how often a change is tried that others' changes got in the way of.
const tries = 5

func (k *Keeper) keep(ctx context.Context, done string) error {
	wrote, err := k.persist(ctx)
	if errors.Is(err, unix.ENOENT) && !k.noCompat {
		// It was not the rules of others that were gone, but an extension.
		k.noCompat = true
		wrote, err = k.persist(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return explain(err)
	case len(wrote) > 0:
		k.log.Info(done, zap.String("in", strings.Join(wrote, ", ")))
	}
	return nil
}

func (k *Keeper) persist(ctx context.Context) (wrote []string, err error) {
	for range tries {
		if wrote, err = k.once(); !overtaken(err) || ctx.Err() != nil {
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
func (k *Keeper) once() ([]string, error) {
	reader, err := openReader()
	if err != nil {
		return nil, err
	}
	defer reader.close()
	generation, err := reader.generation()
	if err != nil {
		return nil, fmt.Errorf("ask for the state of nf_tables: %w", err)
	}
	if generation == k.settled {
		return nil, nil
	}
	wrote, err := k.writeNFT(reader)
	if err != nil {
		return nil, err
	}
	if len(wrote) == 0 {
		k.settled = generation
	}
	return wrote, nil
}

// writeNFT writes both families in one transaction.
func (k *Keeper) writeNFT(reader *nftReader) ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	var wrote []string
	for _, f := range k.want.families() {
		n, err := newNFT(f, conn, reader, !k.noCompat)
		if err != nil {
			return nil, err
		}
		if err := n.plan(nil); err != nil {
			return nil, err
		}
		wrote = append(wrote, n.wrote...)
	}
	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("write %s: %w", strings.Join(wrote, ", "), err)
	}
	return wrote, nil
}

//go:build linux

package netfilter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// uses tells for which purposes iptables-legacy gets rules, by family (IPv4,
// IPv6) and by purpose in their order.
type uses [2][2]bool

// work is one look at everything, and what comes of it.
type work struct {
	sides    [2]side
	reader   *nftReader // nil where the kernel has no nf_tables
	legacy   []*legacy  // by family, nil where it cannot be asked
	uses     uses
	wrote    []string // in nf_tables
	droppers []string // chains of others that may drop what is forwarded
}

// look finds out what the host uses. What it could not find out, the error
// says; the rest is usable.
func (k *Keeper) look() (*work, error) {
	w := &work{legacy: make([]*legacy, 2)}
	all, err := k.all()
	if err != nil {
		return w, err
	}
	w.sides = sides(all)
	reader, err := k.openNFT()
	if err != nil {
		return w, err
	}
	w.reader = reader
	var errs []error
	for i, s := range w.sides {
		if err := w.lookLegacy(i, s); err != nil {
			errs = append(errs, err)
		}
	}
	return w, errors.Join(errs...)
}

// openNFT returns nil where the kernel has no nf_tables.
func (k *Keeper) openNFT() (*nftReader, error) {
	if k.noNFT {
		return nil, nil
	}
	reader, err := openReader()
	if err == nil {
		if _, err = reader.generation(); err == nil {
			return reader, nil
		}
		reader.close()
	}
	// Without CONFIG_NETFILTER_NETLINK, and without CONFIG_NF_TABLES.
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	return nil, fmt.Errorf("ask for the state of nf_tables: %w", err)
}

// lookLegacy finds out which purposes of a family get rules in iptables-legacy:
// those whose tables others use there, and all where there is no nf_tables.
func (w *work) lookLegacy(i int, s side) error {
	l, err := openLegacy(s, w.reader == nil && (s.forwards() || s.masquerades()))
	if err != nil || l == nil {
		return err
	}
	for j, p := range purposes {
		used, err := l.inUse(p)
		if err != nil {
			l.close()
			w.uses[i] = [2]bool{}
			return err
		}
		w.uses[i][j] = (used || w.reader == nil) && w.inLegacy(s, p).rules != nil
	}
	w.legacy[i] = l
	return nil
}

// inLegacy is what iptables-legacy gets where it gets anything.
func (w *work) inLegacy(s side, p *purpose) content {
	if w.reader == nil {
		return s.content(p, func(family) bool { return true })
	}
	return s.content(p, inIptables(p))
}

func (w *work) close() {
	if w.reader != nil {
		w.reader.close()
	}
	for _, l := range w.legacy {
		if l != nil {
			l.close()
		}
	}
}

// syncLegacy writes the rules that iptables-legacy gets, or takes away those
// that it has and should not have.
func (w *work) syncLegacy(ctx context.Context, wanted bool) error {
	var errs []error
	for i, l := range w.legacy {
		if l == nil {
			continue
		}
		for j, p := range purposes {
			if w.uses[i][j] != wanted {
				continue
			}
			var want content
			if wanted {
				want = w.inLegacy(l.side, p)
			}
			errs = append(errs, w.lacking(l.sync(ctx, p, want)))
		}
	}
	return errors.Join(errs...)
}

// lacking says what to do about a kernel that has neither of the two.
func (w *work) lacking(err error) error {
	if w.reader == nil && errors.Is(err, unix.ENOPROTOOPT) {
		return fmt.Errorf("the kernel has neither nf_tables nor iptables-legacy (%w); load a module (modprobe nf_tables or ip_tables), or go without rules (--iptables-forward-rules=false)", err)
	}
	return err
}

// writeNFT writes both families in one transaction.
func (w *work) writeNFT(compat bool) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	var wrote []string
	if w.droppers, err = inetDroppers(conn, w.sides); err != nil {
		return err
	}
	for i, s := range w.sides {
		n, err := newNFT(s, conn, w.reader, compat)
		if err != nil {
			return err
		}
		w.droppers = append(w.droppers, n.droppers()...)
		legacy := map[*purpose]bool{}
		for j, p := range purposes {
			legacy[p] = w.uses[i][j]
		}
		if err := n.plan(legacy); err != nil {
			return err
		}
		wrote = append(wrote, n.wrote...)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", strings.Join(wrote, ", "), err)
	}
	w.wrote = wrote
	return nil
}

// written names all places.
func (w *work) written() []string {
	all := w.wrote
	for _, l := range w.legacy {
		if l != nil {
			all = append(all, l.wrote...)
		}
	}
	return all
}

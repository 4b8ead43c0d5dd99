package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/store"
)

var errNoLeaseKey = errors.New("the key is not that of a lease, such as 10.1.2.0-24")

// Error names the key.
func (m *Malformed) Error() string { return fmt.Sprintf("lease %q is left out: %v", m.Name, m.Err) }

// Unwrap returns what is wrong with it.
func (m *Malformed) Unwrap() error { return m.Err }

func (r *Registry) name(p store.Pair) string { return strings.TrimPrefix(p.Key, r.subnets) }

// parse reads a pair. Where it says what is wrong with the value, the rest of
// the lease is known.
func (r *Registry) parse(p store.Pair) (lease.Lease, *Malformed) {
	l := lease.Lease{Name: r.name(p), Created: p.Created, Revision: p.Revision, Permanent: p.Permanent}
	var ok bool
	if l.Subnet, ok = lease.ParseKey(l.Name); !ok {
		return l, &Malformed{Name: l.Name, Err: errNoLeaseKey}
	}
	var err error
	if l.Record, err = lease.ParseRecord(p.Value); err != nil {
		return l, &Malformed{l.Name, l.Subnet, err}
	}
	return l, nil
}

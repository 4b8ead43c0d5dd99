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

// parse reads a pair, or says what is wrong with it.
func (r *Registry) parse(p store.Pair) (lease.Lease, *Malformed) {
	name := r.name(p)
	subnet, ok := lease.ParseKey(name)
	if !ok {
		return lease.Lease{}, &Malformed{Name: name, Err: errNoLeaseKey}
	}
	record, err := lease.ParseRecord(p.Value)
	if err != nil {
		return lease.Lease{}, &Malformed{name, subnet, err}
	}
	return lease.Lease{
		Subnet:    subnet,
		Record:    record,
		Name:      name,
		Created:   p.Created,
		Revision:  p.Revision,
		Permanent: p.Permanent,
	}, nil
}

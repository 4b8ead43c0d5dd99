package routetable

import (
	"sync/atomic"
	"testing"
)

// Whatever changes where packets go counts, and nothing else does.
func TestRoutesChanges(t *testing.T) {
	var changes atomic.Uint64
	routes := NewRoutes()
	routes.Changes = &changes
	p := prefix("10.1.0.0/16")
	no := func(*Route) bool { return false }
	for _, step := range []struct {
		name   string
		do     func() error
		want   error
		counts bool
	}{
		{"add", func() error { return routes.Add(p, route(1)) }, nil, true},
		{"add again", func() error { return routes.Add(p, route(2)) }, ErrRouteExists, false},
		{"look up", func() error { routes.Lookup([]byte{10, 1, 2, 3}); return nil }, nil, false},
		{"replace by the same", func() error { return routes.Replace(p, route(1)) }, nil, false},
		{"replace", func() error { return routes.Replace(p, route(2)) }, nil, true},
		{"replace what is not there", func() error { return routes.Replace(prefix("fd00::/8"), route(1)) }, nil, true},
		{"a longer one", func() error { return routes.Add(prefix("10.1.2.0/24"), route(2)) }, nil, true},
		{"delete another", func() error { return routes.Delete(p, no) }, ErrRouteNotFound, false},
		{"delete", func() error { return routes.Delete(p, nil) }, nil, true},
		{"delete again", func() error { return routes.Delete(p, nil) }, ErrRouteNotFound, false},
		{"no prefix", func() error { return routes.Add(prefix("10.1.2.3/16"), route(1)) }, ErrPrefix, false},
	} {
		before := changes.Load()
		wantError(t, step.do(), step.want)
		if counted := changes.Load() != before; counted != step.counts {
			t.Errorf("%s counts: %v", step.name, counted)
		}
	}
}

//go:build !portable

package dataplane

import "testing"

func TestOnWithout(t *testing.T) {
	for _, c := range []struct {
		devices string
		toWefts bool
		want    string
	}{
		{"", false, "on"},
		{"", true, "on (to peers that are wefts too)"},
		{"a: it is down", false, "on (without a: it is down)"},
		{"a: it is down; b: it is gone", true, "on (to peers that are wefts too; without a: it is down; b: it is gone)"},
	} {
		if got := onWithout(c.devices, c.toWefts); got != c.want {
			t.Errorf("%q, %v: %q, want %q", c.devices, c.toWefts, got, c.want)
		}
	}
}

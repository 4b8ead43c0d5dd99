package netconf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/weftnet/weft/internal/spelling"
)

// key is one name of an object and what its value sets.
type key[T any] struct {
	name string
	set  func(into *T, value []byte) error
}

type keys[T any] []key[T]

// read sets into from the members of an object, as encoding/json does in
// flannel: upper and lower case are one, null leaves the default, and of a key
// that is given twice the last counts. It returns a sentence for each key that
// is not in the table.
func (ks keys[T]) read(members []member, into *T) (unexpected []string, err error) {
	for _, m := range members {
		k := ks.find(m.name)
		if k == nil {
			unexpected = append(unexpected, ks.unknown(m.name))
			continue
		}
		if k.set == nil || bytes.Equal(m.value, []byte("null")) {
			continue
		}
		if err := k.set(into, m.value); err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return unexpected, nil
}

func (ks keys[T]) find(name string) *key[T] {
	for i := range ks {
		if strings.EqualFold(ks[i].name, name) {
			return &ks[i]
		}
	}
	return nil
}

func (ks keys[T]) unknown(name string) string {
	names := make([]string, len(ks))
	for i, k := range ks {
		names[i] = k.name
	}
	if near := spelling.Nearest(name, names); near != "" {
		return fmt.Sprintf("key %q is unknown and has no effect; did you mean %q?", name, near)
	}
	return fmt.Sprintf("key %q is unknown and has no effect; known are %s", name, strings.Join(names, ", "))
}

func truth[T any](field func(*T) *bool) func(*T, []byte) error {
	return func(into *T, value []byte) error {
		if json.Unmarshal(value, field(into)) != nil {
			return fmt.Errorf("wanted is true or false, found %s", value)
		}
		return nil
	}
}

func whole[N ~int | ~uint16 | ~uint32, T any](lo, hi N, field func(*T) *N) func(*T, []byte) error {
	return func(into *T, value []byte) error {
		var n N
		if json.Unmarshal(value, &n) != nil || n < lo || n > hi {
			return fmt.Errorf("wanted is a number from %d to %d, found %s", lo, hi, value)
		}
		*field(into) = n
		return nil
	}
}

func words[T any](field func(*T) *string) func(*T, []byte) error {
	return func(into *T, value []byte) error {
		if json.Unmarshal(value, field(into)) != nil {
			return fmt.Errorf("wanted is a text in double quotes, found %s", value)
		}
		return nil
	}
}

func prefix[T any](field func(*T) *netip.Prefix) func(*T, []byte) error {
	return func(into *T, value []byte) error {
		var text string
		if json.Unmarshal(value, &text) == nil {
			if p, err := netip.ParsePrefix(text); err == nil {
				*field(into) = p
				return nil
			}
		}
		return fmt.Errorf("wanted is an address range such as \"10.42.0.0/16\", found %s", value)
	}
}

func address[T any](field func(*T) *netip.Addr) func(*T, []byte) error {
	return func(into *T, value []byte) error {
		var text string
		if json.Unmarshal(value, &text) == nil {
			if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
				*field(into) = a
				return nil
			}
		}
		return fmt.Errorf("wanted is an address such as \"10.42.1.0\", found %s", value)
	}
}

package routetable

import (
	"fmt"
	"strconv"
	"strings"
)

// MarshalText writes the address in colon form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the colon form. As in iproute2 a leading zero of each
// byte may be left out.
func (m *MAC) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), ":")
	if len(parts) != len(m) {
		return fmt.Errorf("MAC address %q: six bytes in hexadecimal with colons between them are wanted", text)
	}
	for i, p := range parts {
		b, err := strconv.ParseUint(p, 16, 8)
		if err != nil || len(p) > 2 {
			return fmt.Errorf("MAC address %q: byte %q is not one or two hexadecimal digits", text, p)
		}
		m[i] = byte(b)
	}
	return nil
}

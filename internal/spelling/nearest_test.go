package spelling

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"Network", "SubnetLen", "SubnetMin", "Backend", "remote", "dstport", "srcport"}
	for typed, want := range map[string]string{
		"Networc": "Network", "network": "Network", "SubnetLan": "SubnetLen", "Subnet": "SubnetLen",
		"Backends": "Backend", "remot": "remote", "dstprot": "dstport", "srcprt": "srcport", "x": "", "": "", "Nothing at all": "",
	} {
		if got := Nearest(typed, words); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

// The distance by its definition, which takes exponential time.
func naive(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	if a[0] == b[0] {
		return naive(a[1:], b[1:])
	}
	return 1 + min(naive(a[1:], b), naive(a, b[1:]), naive(a[1:], b[1:]))
}

func TestDistance(t *testing.T) {
	words := []string{"", "a", "ab", "ba", "vxlan", "vxlam", "vlan", "vxlan6", "geneve"}
	for _, a := range words {
		for _, b := range words {
			if got, want := distance(a, b), naive(a, b); got != want {
				t.Errorf("%q, %q: %d, want %d", a, b, got, want)
			}
		}
	}
}

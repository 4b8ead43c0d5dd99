package cli

import (
	"strings"
	"testing"
)

// Nothing is measured for a command line that is wrong.
func TestBenchUsage(t *testing.T) {
	for line, want := range map[string]string{
		"bench now":         `unknown word "now"`,
		"bench --round 0s":  "`--round 0s` is refused",
		"bench --round -1s": "`--round -1s` is refused",
		"bench --round x":   "--round",
	} {
		status, stdout, stderr := weft(t, strings.Fields(line)...)
		if status != badUsage || stdout != "" || !strings.HasPrefix(stderr, "weft: ") || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, stdout %q, stderr %q", line, status, stdout, stderr)
		}
	}
	if status, stdout, _ := weft(t, "bench", "-h"); status != done || !strings.Contains(stdout, "about a minute") {
		t.Errorf("status %d, %q", status, stdout)
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "\n",
		"one two three":      "one two\nthree\n",
		"a  b\nc d":          "a b c d\n",
		"longerthanaline it": "longerthanaline\nit\n",
	} {
		if got := wrap(text, 8); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

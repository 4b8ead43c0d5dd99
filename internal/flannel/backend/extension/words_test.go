package extension

import (
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	variable := lookup([]string{"SUBNET=10.0.5.0/24", "TWO=a b", "Q=it's", "SUBNET2=x", "EMPTY="})
	for text, want := range map[string][]string{
		"":                                     nil,
		" \t\n ":                               nil,
		"ip route add $SUBNET via ${SUBNET2}":  {"ip", "route", "add", "10.0.5.0/24", "via", "x"},
		`ip route add "$SUBNET" via "$TWO"`:    {"ip", "route", "add", "10.0.5.0/24", "via", "a b"},
		"cmd $TWO $Q":                          {"cmd", "a b", "it's"}, // a value is never split, nor its quotes read
		"cmd '$TWO' a'b c'd":                   {"cmd", "$TWO", "ab cd"},
		`cmd "" '' $EMPTY $UNKNOWN x`:          {"cmd", "", "", "", "", "x"},
		"sh -c 'a; b && c >d | e `f` $(g) $H'": {"sh", "-c", "a; b && c >d | e `f` $(g) $H"},
		"iptables -t nat ! -s $SUBNET":         {"iptables", "-t", "nat", "!", "-s", "10.0.5.0/24"},
		"curl http://h/?a=1&b=2;c":             {"curl", "http://h/?a=1&b=2;c"},
		"cmd\ta\nb":                            {"cmd", "a", "b"},
		"\u00e9t\u00e9\u3000\u00fc":            {"\u00e9t\u00e9", "\u00fc"},
	} {
		got, err := words(text, variable)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// What flannel would hand to the program as plain words is refused.
func TestWordsForAShell(t *testing.T) {
	for text, word := range map[string]string{
		"export VNI=1; ip link add":   ";",
		"a ; b":                       ";",
		"a && b":                      "&&",
		"a || b":                      "||",
		"a | b":                       "|",
		"a &":                         "&",
		"a 2>/dev/null":               "2>/dev/null",
		"a > b":                       ">",
		"a &> b":                      "&>",
		"a < b":                       "<",
		"a `b`":                       "`",
		"a $(b)":                      "$(",
		`a "$(b)"`:                    "$(",
		"( a )":                       "(",
		"cat \"/sys/`hostname`/x\" y": "`",
	} {
		_, err := words(text, lookup(nil))
		if err == nil || !strings.HasPrefix(err.Error(), word+" is for a shell") || !strings.Contains(err.Error(), "sh -c") {
			t.Errorf("%q: error %v, want one about %q", text, err, word)
		}
	}
	for _, text := range []string{"a 'b", `a b"`, `a 'b"`} {
		if _, err := words(text, lookup(nil)); err == nil || !strings.Contains(err.Error(), "is not closed") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"a 'b c' \"$D\"", "'", "$", "${", "a'b", "\xff 'x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := words(text, func(string) string { return "v" })
		if err != nil {
			return
		}
		// Without quotes and variables it is what flannel does.
		if !strings.ContainsAny(text, `'"$`) && !slices.Equal(got, strings.Fields(text)) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

package subnetenv

import (
	"iter"
	"net/netip"
	"strconv"
	"strings"
)

// Parse reads the text of a file. What is not understood is left zero, as a
// file that a person has edited may hold anything. Where flannel would find
// several subnets it takes none.
func Parse(text []byte) File {
	var f File
	for key, value := range Assignments(text) {
		switch key {
		case keyNetwork:
			f.Network = only(value)
		case keySubnet:
			f.Subnet = only(value)
		case keyIPv6Network:
			f.IPv6Network = only(value)
		case keyIPv6Subnet:
			f.IPv6Subnet = only(value)
		case keyMTU:
			f.MTU, _ = strconv.Atoi(value)
		case keyIPMasq:
			f.IPMasq, _ = strconv.ParseBool(value)
		}
	}
	return f
}

// Assignments are the variables that a file sets, as they stand there, in its
// order.
func Assignments(text []byte) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		for line := range strings.Lines(string(text)) {
			key, value, ok := assignment(line)
			if ok && !yield(key, value) {
				return
			}
		}
	}
}

// assignment takes a line of a shell apart that sets a variable.
func assignment(line string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
	value = strings.TrimSpace(value)
	for _, quote := range []string{`"`, `'`} {
		if inside, found := strings.CutPrefix(value, quote); found {
			inside, _, _ = strings.Cut(inside, quote)
			return strings.TrimSpace(key), inside, ok
		}
	}
	value, _, _ = strings.Cut(value, " #")
	return strings.TrimSpace(key), strings.TrimSpace(value), ok
}

// only returns the one prefix in a list that commas separate, without host bits.
func only(list string) (one netip.Prefix) {
	for item := range strings.SplitSeq(list, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(item))
		if err != nil {
			continue
		}
		if one.IsValid() {
			return netip.Prefix{}
		}
		one = p.Masked()
	}
	return one
}

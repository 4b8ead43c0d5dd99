package main

import (
	"fmt"
	"path"
	"strings"

	"github.com/weftnet/weft/internal/benchmark/result"
)

// The report stands between these lines of a document.
const (
	begin = "<!-- figures: made by make bench -->\n"
	end   = "<!-- figures end -->\n"
)

// between replaces what stands between the two lines.
func between(document, report string) (string, error) {
	head, rest, ok := strings.Cut(document, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("the lines %q and %q are wanted, in this order", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return head + begin + "\n" + report + "\n" + end + tail, nil
}

// report is all of a file's results in Markdown.
func report(f *result.File) string {
	var b strings.Builder
	b.WriteString(conditions(f) + "\n")
	own := f.Without(containers, crowded, peers)
	for _, mode := range own.Modes() {
		fmt.Fprintf(&b, "\n### %s\n\n%s", heading(mode), own.Table(mode))
	}
	through := f.Of(containers)
	for _, mode := range through.Modes() {
		fmt.Fprintf(&b, "\n### Container to container through agents, %s\n\n%s", strings.ToLower(heading(mode)), through.Table(mode))
	}
	if among := f.Of(crowded); len(among.Results) > 0 {
		fmt.Fprintf(&b, "\n### Among many\n\n%s", among.Table(""))
	}
	if turns := f.Of(peers); len(turns.Results) > 0 {
		fmt.Fprintf(&b, "\n### To peers in turn\n\n%s", turns.Table(""))
	}
	b.WriteString(memory(f))
	if t := functions(f); t != "" {
		b.WriteString("\n<details><summary>Functions</summary>\n\n" + t + "\n</details>\n")
	}
	return b.String()
}

// Groups that hold others.
const (
	containers = "Containers"
	crowded    = "Crowded"
	peers      = "Peers"
)

// memory says what links and entries take, as far as that was measured.
func memory(f *result.File) string {
	text := ""
	for _, r := range f.Results {
		switch r.Group {
		case "Memory":
			text += fmt.Sprintf("A daemon with one link has %.1f MB in memory, with 64 links %.1f MB: %.0f kB for each link more.\n",
				r.Values["MB-1-link"], r.Values["MB-64-links"], r.Values["kB/link"])
		case "FDBLearnNew":
			if size, ok := r.Values["B/entry"]; ok {
				text += fmt.Sprintf("Of a million entries in the FDB each takes %.0f bytes.\n", size)
			}
		}
	}
	if text == "" {
		return ""
	}
	return "\n### Memory\n\n" + text
}

// heading is what a mode is called.
func heading(mode string) string {
	if h, ok := headings[mode]; ok {
		return h
	}
	return mode
}

var headings = map[string]string{"offloads-on": "Offloads on", "wire-like": "Wire-like"}

// conditions say what the figures were measured with.
func conditions(f *result.File) string {
	var parts []string
	add := func(format, key string) {
		if v := f.Setting(key); v != "" {
			parts = append(parts, fmt.Sprintf(format, v))
		}
	}
	add("weft %s", "weft")
	add("%s", "date")
	add("%s", "cpu")
	add("%s cores", "cores")
	add("Linux %s", "kernel")
	add("TCP under %s", "congestion")
	add("%s", "note")
	return strings.Join(parts, "; ") + "."
}

// functions is the table of benchmarks of single functions.
func functions(f *result.File) string {
	lines := [][]string{{"", "ns", "GB/s", "allocations"}}
	for _, r := range f.Results {
		ns, ok := r.Values["ns/op"]
		if r.Mode != "" || !ok {
			continue
		}
		speed := ""
		if v, ok := r.Values["MB/s"]; ok {
			speed = fmt.Sprintf("%.1f", v/1000)
		}
		lines = append(lines, []string{functionName(&r), result.Digits(ns), speed, fmt.Sprintf("%.0f", r.Values["allocs/op"])})
	}
	if len(lines) == 1 {
		return ""
	}
	return result.Markdown(lines)
}

func functionName(r *result.Result) string {
	name := path.Base(r.Package) + "." + r.Group
	if r.Case != "" {
		name += " " + strings.ReplaceAll(r.Case, "/", ", ")
	}
	return name
}

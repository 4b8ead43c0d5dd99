// Package result holds what benchmarks measured: it reads the text format of
// Go benchmarks and makes tables of what is in it.
package result

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// File is a run of benchmarks.
type File struct {
	Settings []Setting
	Results  []Result
}

// Setting is a line "key: value" of the format.
type Setting struct{ Key, Value string }

// Result is one benchmark's. Its name in the format is
//
//	BenchmarkGroup/mode=Mode/path=Path/Case
//
// where the parts behind the group may be missing.
type Result struct {
	Package string             `json:"package,omitempty"` // the last "pkg" setting before it
	Group   string             `json:"group"`
	Mode    string             `json:"mode,omitempty"`
	Path    string             `json:"path,omitempty"`
	Case    string             `json:"case,omitempty"`
	Values  map[string]float64 `json:"values"` // by unit
}

// Setting is the first value of a key, or "".
func (f *File) Setting(key string) string {
	for _, s := range f.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// Parse reads the format, https://go.dev/design/14313-benchmark-format. Lines
// that it does not define are passed over, but what says that a benchmark
// failed is an error: its figures are missing.
func Parse(r io.Reader) (*File, error) {
	f := &File{}
	pkg := ""
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if word, _, _ := strings.Cut(strings.TrimLeft(line, "- "), ":"); word == "FAIL" || strings.HasPrefix(line, "FAIL") {
			return nil, fmt.Errorf("line %d: %q: a benchmark failed; run them again", n, line)
		}
		if s, ok := parseSetting(line); ok {
			if s.Key == "pkg" {
				pkg = s.Value
			} else if f.Setting(s.Key) == "" {
				f.Settings = append(f.Settings, s)
			}
			continue
		}
		if !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		if res, ok := parseResult(line); ok {
			res.Package = pkg
			f.Results = append(f.Results, res)
		}
	}
	return f, lines.Err()
}

// parseSetting wants a key that begins with a lower-case letter and holds no
// space and no upper-case letter.
func parseSetting(line string) (Setting, bool) {
	key, value, ok := strings.Cut(line, ":")
	if !ok || key == "" || key[0] < 'a' || key[0] > 'z' || strings.ContainsAny(key, " \t") || strings.ToLower(key) != key {
		return Setting{}, false
	}
	return Setting{key, strings.TrimSpace(value)}, true
}

// parseResult reads "name N value unit value unit …". A name alone is what the
// testing package prints before a benchmark that prints something itself.
func parseResult(line string) (Result, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || len(fields)%2 != 0 {
		return Result{}, false
	}
	r := Result{Values: map[string]float64{}}
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return Result{}, false
		}
		r.Values[fields[i+1]] = v
	}
	r.setName(strings.TrimPrefix(fields[0], "Benchmark"))
	return r, true
}

// setName takes a name apart. At its end is the number of processors, if there
// is more than one: not to be taken for a part of the name.
func (r *Result) setName(name string) {
	if at := strings.LastIndexByte(name, '-'); at > 0 {
		if _, err := strconv.Atoi(name[at+1:]); err == nil {
			name = name[:at]
		}
	}
	parts := strings.Split(name, "/")
	r.Group = parts[0]
	var rest []string
	for _, p := range parts[1:] {
		if mode, ok := strings.CutPrefix(p, "mode="); ok {
			r.Mode = mode
		} else if path, ok := strings.CutPrefix(p, "path="); ok {
			r.Path = path
		} else {
			rest = append(rest, p)
		}
	}
	r.Case = strings.Join(rest, "/")
}

// Units are those of a result, in order.
func (r *Result) Units() []string { return slices.Sorted(maps.Keys(r.Values)) }

// Of are the results of a group that holds other groups, as if they were a file's
// own: BenchmarkCrowded/path=Path/Group/Case is in it as BenchmarkGroup/path=Path/Case.
func (f *File) Of(group string) *File {
	inner := &File{Settings: f.Settings}
	for _, r := range f.Results {
		if r.Group != group {
			continue
		}
		if head, rest, ok := strings.Cut(r.Case, "/"); ok {
			r.Group, r.Case = head, rest
			inner.Results = append(inner.Results, r)
		}
	}
	return inner
}

// Without are the results of no such group.
func (f *File) Without(groups ...string) *File {
	rest := &File{Settings: f.Settings}
	for _, r := range f.Results {
		if !slices.Contains(groups, r.Group) {
			rest.Results = append(rest.Results, r)
		}
	}
	return rest
}

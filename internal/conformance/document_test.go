package conformance

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// row is one of the tables' of docs/conformance.md.
type row struct {
	line   int
	name   string   // of the case
	tests  []string // "package.TestX", of the second column and the note
	result string
	note   string
}

// results are what a row may say.
var results = []string{"pass", "pass (weft)", "n/a", "differs"}

// TestDocument wants docs/conformance.md to name only tests that there are,
// and all of this package.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/conformance.md")
	check(t, err)
	rows := parseRows(t, string(text))
	if len(rows) == 0 {
		t.Fatal("docs/conformance.md has no rows")
	}
	known := map[string]map[string]bool{}
	named := map[string]bool{}
	for _, r := range rows {
		if err := r.check(); err != nil {
			t.Errorf("docs/conformance.md:%d: %s: %v", r.line, r.name, err)
		}
		for _, test := range r.tests {
			named[test] = true
			pkg, name, _ := strings.Cut(test, ".")
			if known[pkg] == nil {
				known[pkg] = testsOf(t, pkg)
			}
			if !known[pkg][name] {
				t.Errorf("docs/conformance.md:%d: there is no %s in internal/%s", r.line, name, pkg)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(testsOf(t, "conformance"))) {
		if name != "TestMain" && name != "TestDocument" && !named["conformance."+name] {
			t.Errorf("docs/conformance.md has no row for %s", name)
		}
	}
}

// check wants a row to say what it has to.
func (r *row) check() error {
	switch {
	case !slices.Contains(results, r.result):
		return fmt.Errorf("result %q, want one of %q", r.result, results)
	case strings.HasPrefix(r.result, "pass") && len(r.tests) == 0:
		return fmt.Errorf("passes, and names no test")
	case (r.result == "n/a" || r.result == "differs") && r.note == "":
		return fmt.Errorf("%s, and gives no reason", r.result)
	}
	return nil
}

// testName is one of ours; of others' tests the first column speaks.
var testName = regexp.MustCompile(`\b(?:[a-z]+\.)?Test[A-Z][A-Za-z0-9]+`)

// parseRows reads the tables that begin with the column case.
func parseRows(t *testing.T, text string) (rows []row) {
	t.Helper()
	within := false
	for i, line := range strings.Split(text, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			within = false
		case strings.HasPrefix(line, "| case |"):
			within = true
		case within && !strings.HasPrefix(line, "|--"):
			if len(cells) != 4 {
				t.Fatalf("docs/conformance.md:%d: %d columns, want 4", i+1, len(cells))
			}
			rows = append(rows, newRow(i+1, cells))
		}
	}
	return rows
}

func newRow(line int, cells []string) row {
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	r := row{line: line, name: cells[0], result: cells[2], note: cells[3]}
	for _, name := range testName.FindAllString(cells[1]+" "+cells[3], -1) {
		if !strings.Contains(name, ".") {
			name = "conformance." + name
		}
		r.tests = append(r.tests, name)
	}
	return r
}

// testsOf are the test functions of a package below internal.
func testsOf(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	for _, path := range filesIn("../"+pkg, "*_test.go") {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Clean(path), nil, parser.SkipObjectResolution)
		check(t, err)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				tests[f.Name.Name] = true
			}
		}
	}
	return tests
}

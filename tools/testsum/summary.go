package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of go test -json; "go doc test2json" describes it.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// summary counts results, subtests included, and keeps what a test or package prints until it is known whether that is wanted.
type summary struct {
	out     io.Writer
	passed  int
	failed  int
	skipped int
	// leftOut has a line for each test that was skipped, and for each package whose tests were all left out.
	leftOut []string
	// problems are runs of go test that failed.
	problems []string
	// output is by package and test, the test empty for what the package printed itself.
	output map[string][]string
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[string][]string{}}
}

func (s *summary) take(e event) {
	key := e.Package + " " + e.Test
	switch {
	case e.Action == "build-output":
		s.write(e.Output)
	case e.Action == "output":
		s.output[key] = append(s.output[key], e.Output)
	case !ends(e.Action):
	case e.Test == "":
		s.packageResult(e.Action, s.output[key])
		delete(s.output, key)
	default:
		s.result(e.Action, key)
		delete(s.output, key)
	}
}

func ends(action string) bool {
	return action == "pass" || action == "fail" || action == "skip"
}

// packageResult prints what plain go test prints: of a package that passed, the last line alone.
func (s *summary) packageResult(action string, output []string) {
	if action != "fail" {
		output = output[max(0, len(output)-1):]
	}
	s.write(strings.Join(output, ""))
}

func (s *summary) result(action, key string) {
	switch action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		s.write(strings.Join(slices.DeleteFunc(s.output[key], isProgress), ""))
	case "skip":
		s.skipped++
		s.leave(key + ": " + reason(s.output[key]))
	}
}

// leave notes what was left out, once: a test that several runs of go test skip is one line.
func (s *summary) leave(line string) {
	if !slices.Contains(s.leftOut, line) {
		s.leftOut = append(s.leftOut, line)
	}
}

func isProgress(line string) bool {
	return strings.HasPrefix(strings.TrimSpace(line), "=== ")
}

// reason joins what a skipped test printed, less go test's own lines and the position of the Skip.
func reason(output []string) string {
	var words []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line == "" || isProgress(line) || strings.HasPrefix(line, "--- ") {
			continue
		}
		if file, text, found := strings.Cut(line, ": "); found && strings.Contains(file, ".go:") {
			line = text
		}
		words = append(words, line)
	}
	if len(words) == 0 {
		return "no reason given"
	}
	return strings.Join(words, " ")
}

func (s *summary) write(text string) {
	_, _ = io.WriteString(s.out, text)
}

func (s *summary) print() {
	// What never ended (a panic, the deadline) has no result; its output is then all there is.
	for _, lines := range s.output {
		s.write(strings.Join(lines, ""))
	}
	for i, line := range s.leftOut {
		if i == 0 {
			s.write("\nleft out:\n")
		}
		s.write("  " + line + "\n")
	}
	for _, line := range s.problems {
		s.write("\nfailed: " + line + "\n")
	}
	s.write(fmt.Sprintf("\ntests: %d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped))
}

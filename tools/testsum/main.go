// Command testsum runs go test, prints what plain go test prints, and ends with the tests that were left out and their reasons.
//
// Usage: testsum ARGS [ + ARGS ]...
//
// Each ARGS is one run of go test, the runs separated by a lone plus sign. All runs are made, then the exit status is 1 if any failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// envLeftOut is how the tests that run in namespaces learn where to write what they left out (package lab).
const envLeftOut = "WEFT_LAB_LEFT_OUT"

func main() {
	s := newSummary(os.Stdout)
	report, err := os.CreateTemp("", "weft-left-out-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	_ = report.Close()
	_ = os.Setenv(envLeftOut, report.Name())
	for _, args := range split(os.Args[1:]) {
		if err := s.run(args); err != nil {
			s.problems = append(s.problems, err.Error())
		}
	}
	s.addPackages(report.Name())
	_ = os.Remove(report.Name())
	s.print()
	if len(s.problems) > 0 {
		os.Exit(1)
	}
}

// addPackages notes the packages that left out all of their tests, which go test reports as passed.
func (s *summary) addPackages(report string) {
	text, _ := os.ReadFile(report)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, ": all tests: ") {
			s.leave(strings.TrimSpace(line))
		}
	}
}

// split cuts the words at each lone plus sign.
func split(words []string) [][]string {
	var runs [][]string
	for {
		i := slices.Index(words, "+")
		if i < 0 {
			return append(runs, words)
		}
		runs, words = append(runs, words[:i]), words[i+1:]
	}
}

// run makes one run of go test. Its error says that the run failed, be it a test or the build.
func (s *summary) run(args []string) error {
	args = append([]string{"test", "-json"}, args...)
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := s.read(events); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go %v: %w", args, err)
	}
	return nil
}

// read takes go test's JSON lines; what is not JSON is printed as it is.
func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		switch {
		case len(line) > 0 && json.Unmarshal(line, &e) != nil:
			_, _ = s.out.Write(line)
		case len(line) > 0:
			s.take(e)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

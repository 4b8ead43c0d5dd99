package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The guest brackets what a test binary prints with two lines of its own.
const (
	startMark = "novxlan: start "
	exitMark  = "novxlan: exit status "
)

var resultLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)

// testRun is what one test binary printed, counted. Subtests count too.
type testRun struct {
	name    string
	pass    int
	fail    int
	skipped []string
	ended   bool
	status  int
}

// transcript reads the serial console.
type transcript struct {
	runs []*testRun
}

func (t *transcript) add(line string) {
	if name, ok := strings.CutPrefix(line, startMark); ok {
		t.runs = append(t.runs, &testRun{name: name})
	}
	if len(t.runs) == 0 {
		return
	}
	run := t.runs[len(t.runs)-1]
	if status, ok := strings.CutPrefix(line, exitMark); ok {
		var err error
		run.status, err = strconv.Atoi(status)
		run.ended = err == nil
	}
	if m := resultLine.FindStringSubmatch(line); m != nil {
		run.count(m[1], m[2])
	}
}

func (r *testRun) count(result, test string) {
	switch result {
	case "PASS":
		r.pass++
	case "FAIL":
		r.fail++
	case "SKIP":
		r.skipped = append(r.skipped, test)
	}
}

// counts is one line about all test binaries.
func (t *transcript) counts() string {
	var pass, fail, skip int
	for _, r := range t.runs {
		pass, fail, skip = pass+r.pass, fail+r.fail, skip+len(r.skipped)
	}
	return fmt.Sprintf("novxlan: %d passed, %d failed, %d skipped", pass, fail, skip)
}

// verdict is nil only if every one of want test binaries ran to its end, passed, and left nothing out.
func (t *transcript) verdict(want int) error {
	var errs []error
	for _, r := range t.runs {
		errs = append(errs, r.verdict())
	}
	if len(t.runs) < want {
		errs = append(errs, fmt.Errorf("the virtual machine ended after starting %d of %d test binaries", len(t.runs), want))
	}
	return errors.Join(errs...)
}

func (r *testRun) verdict() error {
	switch {
	case !r.ended:
		return fmt.Errorf("%s: the virtual machine ended before the test did", r.name)
	case r.status != 0:
		return fmt.Errorf("%s: exit status %d", r.name, r.status)
	case r.pass == 0:
		return fmt.Errorf("%s: no test ran; does -run match any?", r.name)
	case len(r.skipped) > 0:
		return fmt.Errorf("%s: tests were skipped, which counts as failed here: %s", r.name, strings.Join(r.skipped, ", "))
	}
	return nil
}

package main

import (
	"strings"
	"testing"
)

func TestTranscriptVerdict(t *testing.T) {
	const ran = startMark + "a.test\n--- PASS: TestA (0.1s)\n"
	for name, c := range map[string]struct{ console, want string }{
		"passed":          {ran + "PASS\n" + exitMark + "0", ""},
		"failed":          {ran + exitMark + "1", "exit status 1"},
		"none matched":    {startMark + "a.test\ntesting: warning: no tests to run\nPASS\n" + exitMark + "0", "no test ran"},
		"subtest skipped": {ran + "    --- SKIP: TestA/inner (0.00s)\n" + exitMark + "0", "skipped"},
		"kernel panic":    {ran + "Kernel panic - not syncing", "ended before"},
		"status cut off":  {ran + exitMark, "ended before"},
		"never started":   {"novxlan: guest: load /modules/tun.ko: no such file", "starting 0 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			err := readTranscript(c.console).verdict(1)
			if c.want == "" && err != nil {
				t.Errorf("got error %q, want none", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestTranscriptOfTwoBinaries(t *testing.T) {
	got := readTranscript(strings.Join([]string{
		startMark + "a.test", "--- PASS: TestA (0.1s)", "    --- PASS: TestA/inner (0.1s)", exitMark + "0",
		startMark + "b.test", "--- FAIL: TestB (0.1s)", exitMark + "1",
	}, "\n"))
	if want := "novxlan: 2 passed, 1 failed, 0 skipped"; got.counts() != want {
		t.Errorf("got %q, want %q", got.counts(), want)
	}
	if err := got.verdict(2); err == nil || !strings.HasPrefix(err.Error(), "b.test") {
		t.Errorf("got error %v, want one about b.test alone", err)
	}
}

func readTranscript(console string) *transcript {
	var t transcript
	for line := range strings.SplitSeq(console, "\n") {
		t.add(line)
	}
	return &t
}

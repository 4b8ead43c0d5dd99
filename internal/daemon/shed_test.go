package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const smaps = `00400000-00a00000 r-xp 00000000 fe:01 123 /usr/local/bin/weft
Rss:                4000 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
00a00000-01500000 r--p 00600000 fe:01 123 /usr/local/bin/a b (deleted)
Anonymous:             0 kB
01500000-01600000 r--p 01100000 fe:01 123 /usr/local/bin/weft
Anonymous:             4 kB
01600000-01700000 rw-p 01200000 fe:01 123 /usr/local/bin/weft
Anonymous:             0 kB
01700000-01800000 r--p 00000000 00:00 0
Anonymous:             0 kB
7fff00000000-7fff00001000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
`

// Only what the file can give back is given up.
func TestProgramMappings(t *testing.T) {
	got := fmt.Sprintf("%x", programMappings(strings.NewReader(smaps)))
	if want := "[{400000 a00000} {a00000 1500000}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The program goes on, with less in memory.
func TestShedProgram(t *testing.T) {
	before := fileRSS(t)
	shedProgram()
	if after := fileRSS(t); after >= before {
		t.Errorf("%d kB of files in memory, before %d kB", after, before)
	}
}

func fileRSS(t *testing.T) (kB int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssFile:")
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		t.Fatal(err)
	}
	return kB
}

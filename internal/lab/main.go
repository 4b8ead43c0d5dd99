//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
)

// EnvLeftOut names a variable that holds the path of a file, to which every
// package appends a line for each test that it left out. `go test ./...`
// swallows what passing packages print, so this is how they can be listed.
const EnvLeftOut = "WEFT_LAB_LEFT_OUT"

// leftOut collects what the package's tests could not have.
var leftOut struct {
	sync.Mutex
	lines []string
}

// Main is a package's TestMain: it runs the tests in a private world. If there
// is none to be had, it says why and what would help, leaves all of them out,
// and exits 0. At the end it lists the tests that were left out singly.
//
//	func TestMain(m *testing.M) { lab.Main(m) }
func Main(m interface{ Run() int }) {
	if err := enterWithWires(); err != nil {
		var lack *Lack
		if !errors.As(err, &lack) {
			fmt.Fprintln(os.Stderr, "lab:", err)
			os.Exit(1)
		}
		leaveOut("all tests", lack)
		listLeftOut()
		os.Exit(0)
	}
	code := m.Run()
	listLeftOut()
	os.Exit(code)
}

// enterWithWires enters a world in which hosts can be joined at all.
func enterWithWires() error {
	if err := Enter(); err != nil {
		return err
	}
	if lack := probeVeth(); lack != nil {
		return lack
	}
	return nil
}

// leaveOut notes that tests were left out for want of something.
func leaveOut(tests string, lack *Lack) {
	leftOut.Lock()
	defer leftOut.Unlock()
	leftOut.lines = append(leftOut.lines, fmt.Sprintf("%s: %s: %v", packagePath(), tests, lack))
}

func packagePath() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return os.Args[0]
	}
	return strings.TrimSuffix(info.Path, ".test")
}

// listLeftOut prints the list, and appends it to the file that EnvLeftOut names.
func listLeftOut() {
	leftOut.Lock()
	defer leftOut.Unlock()
	if len(leftOut.lines) == 0 {
		return
	}
	list := strings.Join(leftOut.lines, "\n") + "\n"
	fmt.Print("left out:\n", list)
	if path := os.Getenv(EnvLeftOut); path != "" {
		if err := appendTo(path, list); err != nil {
			fmt.Fprintln(os.Stderr, "lab: listing the tests left out:", err)
		}
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

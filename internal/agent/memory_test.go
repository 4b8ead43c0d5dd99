package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/netfilter"
)

// TestMemory has an agent that was killed while it wrote, one that comes while
// another runs, and one that comes when that has just forgotten everything.
func TestMemory(t *testing.T) {
	dir := control.RunDir(t.TempDir())
	subnetFile := filepath.Join(string(dir), "subnet.env")
	m, err := openMemory(dir, subnetFile)
	check(t, err)
	m.Type = strings.Repeat("long", 100)
	check(t, m.save())
	long, err := os.ReadFile(m.file.Name())
	check(t, err)
	m.Type, m.Rules.Forward = "short", true
	check(t, m.save())
	_, err = m.file.WriteAt(long[len(long)-200:], int64(len(long)-200)) // what was not cut off yet
	check(t, err)
	other := beside{&memory{file: os.Stdin, others: m.others}, map[string]netfilter.Rules{}}
	if rules, err := other.rules(); err != nil || len(rules) != 1 || !rules[0].Forward {
		t.Errorf("another network's agent reads %+v %v", rules, err)
	}
	if _, err := openMemory(dir, subnetFile); !errors.Is(err, errRuns) || !strings.Contains(err.Error(), "process ") || strings.Contains(err.Error(), "process 0") {
		t.Error("beside another:", err)
	}
	check(t, m.file.Close())
	if m, err = openMemory(dir, subnetFile); err != nil || m.Type != "short" {
		t.Fatalf("after a kill: %+v %v", m, err)
	}
	check(t, m.forget())
	next, err := openMemory(dir, subnetFile) // the lock that m has is on another file
	if err != nil || next.Type != "" {
		t.Fatalf("forgotten: %+v %v", next, err)
	}
	check(t, m.file.Close())
	check(t, next.file.Close())
}

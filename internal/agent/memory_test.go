package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/netfilter"
	"github.com/weftnet/weft/internal/lab"
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

// TestMemoryOfGoneNamespace has a namespace whose inode another one had, in which an
// agent noted something. The kernel gives inodes again, but to whom it likes: the file
// gets the name that it would have then.
func TestMemoryOfGoneNamespace(t *testing.T) {
	lab.NeedLinux(t, 5, 14, "the cookie of a network namespace")
	dir := control.RunDir(t.TempDir())
	subnetFile := filepath.Join(string(dir), "subnet.env")
	former, h := lab.TestHost(t, "former"), lab.TestHost(t, "now")
	open := func(h *lab.Host, wantType string, wantGone bool) (m *memory) {
		t.Helper()
		check(t, h.Do(func() (err error) { m, err = openMemory(dir, subnetFile); return err }))
		if m.Type != wantType || m.gone != wantGone {
			t.Errorf("read type %q, gone %v; want %q, %v", m.Type, m.gone, wantType, wantGone)
		}
		return m
	}
	m := open(former, "", false)
	m.Type = "vxlan"
	check(t, m.save())
	check(t, m.file.Close())
	check(t, open(former, "vxlan", false).file.Close())
	var path string
	check(t, h.Do(func() (err error) { path, _, err = memoryPath(dir, subnetFile); return err }))
	check(t, os.Rename(m.file.Name(), path))
	m = open(h, "", true)
	m.Type = "udp"
	check(t, m.save())
	check(t, m.file.Close())
	check(t, open(h, "udp", false).file.Close())
}

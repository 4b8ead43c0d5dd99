package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/netfilter"
)

// memory is a file in the run directory that says what an agent has made, for
// the one that comes after it and for `--cleanup`, which may find another
// config in etcd or none. Each pair of network namespace and subnet file has
// its own, and an agent holds its lock.
type memory struct {
	file   *os.File
	others string // pattern of the files of all agents in the namespace
	gone   bool   // what stood in the file was of a namespace that is gone
	held
}

// held is what stands in the file.
type held struct {
	PID    int
	Cookie uint64 `json:",omitempty"` // of the network namespace, 0 where that is not known
	made
	Left  []made // by former configs, and not taken back yet
	Lease lease.Lease
	Hole  bool // a blackhole route
	Rules netfilter.Rules
}

// made tells what the backend of a config made: it is what the backend goes by.
type made struct {
	Place backend.Node
	Type  string          // of the backend, "" for nothing yet
	Way   json.RawMessage // netconf's value of that type
	Net   netconf.Config  // without Backend
}

// errRuns says that another process holds the memory.
var errRuns = errors.New("an agent with this subnet file runs already in this network namespace")

func openMemory(dir control.RunDir, subnetFile string) (*memory, error) {
	path, others, err := memoryPath(dir, subnetFile)
	if err != nil {
		return nil, err
	}
	if _, err := dir.Create(); err != nil {
		return nil, err
	}
	m := &memory{others: others}
	for m.file == nil {
		if err := m.open(path); err != nil {
			return nil, err
		}
	}
	m.load()
	m.enter(control.NetNSCookie())
	return m, nil
}

// enter forgets what was made in another namespace, which went with that: its inode,
// by which the file is named, is this one's by now.
func (m *memory) enter(cookie uint64) {
	if m.gone = control.OtherNetNS(m.Cookie, cookie); m.gone {
		m.held = held{}
	}
	m.Cookie = cookie
}

// open opens and locks the file. It leaves none open that another process, which
// has taken back what it made, deleted meanwhile.
func (m *memory) open(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("remember what is made: %w", err)
	}
	m.file = file
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		m.load()
		file.Close()
		return fmt.Errorf("%w, process %d: end it first, or give this one another --subnet-file", errRuns, m.PID)
	}
	there, err := os.Stat(path)
	opened, errOpened := file.Stat()
	if err != nil || errOpened != nil || !os.SameFile(there, opened) {
		file.Close()
		m.file = nil
	}
	return nil
}

// memoryPath returns the path of the file, and the pattern that it and those of
// other agents in the network namespace have.
func memoryPath(dir control.RunDir, subnetFile string) (path, pattern string, err error) {
	netns, err := control.NetNS()
	if err != nil {
		return "", "", err
	}
	abs, err := filepath.Abs(subnetFile)
	if err != nil {
		return "", "", err
	}
	h := fnv.New32a()
	_, _ = io.WriteString(h, abs)
	file := fmt.Sprintf("%d-agent-", netns)
	return filepath.Join(string(dir), fmt.Sprintf("%s%08x.json", file, h.Sum32())), filepath.Join(string(dir), file+"*.json"), nil
}

// load leaves the memory empty if the file is damaged. Behind what was written last
// there may be the end of something longer, if the writer was killed before it cut
// that off.
func (m *memory) load() {
	m.held, _ = readHeld(m.file)
}

func readHeld(r io.Reader) (h held, err error) {
	if err = json.NewDecoder(r).Decode(&h); err != nil {
		h = held{}
	}
	return h, err
}

func (m *memory) save() error {
	m.PID = os.Getpid()
	text, err := json.Marshal(m.held)
	if err != nil {
		return err
	}
	if _, err := m.file.WriteAt(append(text, '\n'), 0); err != nil {
		return fmt.Errorf("remember what is made: %w", err)
	}
	return m.file.Truncate(int64(len(text)) + 1)
}

func (m *memory) forget() error { return os.Remove(m.file.Name()) }

// config returns the config that the agent went by, nil if there was none.
func (m made) config() (*netconf.Config, error) {
	way := newWay(m.Type)
	if way == nil {
		return nil, nil
	}
	if err := json.Unmarshal(m.Way, way); err != nil {
		return nil, err
	}
	cfg := m.Net
	cfg.Backend = way
	return &cfg, nil
}

// newWay returns an empty config of a backend.
func newWay(name string) netconf.Backend {
	switch name {
	case netconf.TypeUDP:
		return &netconf.UDP{}
	case netconf.TypeVXLAN:
		return &netconf.VXLAN{}
	case netconf.TypeHostGW:
		return &netconf.HostGW{}
	case netconf.TypeAlloc:
		return &netconf.Alloc{}
	case netconf.TypeExtension:
		return &netconf.Extension{}
	}
	return nil
}

// set remembers what is about to be made.
func (m *made) set(place backend.Node, cfg *netconf.Config) (err error) {
	m.Place, m.Type, m.Net = place, cfg.Backend.Type(), *cfg
	m.Net.Backend = nil
	m.Way, err = json.Marshal(cfg.Backend)
	return err
}

func (n *node) openMemory(context.Context) (err error) {
	if n.memory, err = openMemory(n.RunDir, n.SubnetFile); err != nil {
		return err
	}
	n.atEnd(func() { n.memory.file.Close() })
	if n.memory.gone {
		n.Log.Warn("what an agent has noted is of a network namespace that is gone: it is not gone by, and written over",
			zap.String("file", n.memory.file.Name()))
	}
	return n.memory.save()
}

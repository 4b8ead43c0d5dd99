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
	held
}

// held is what stands in the file.
type held struct {
	PID   int
	Place backend.Node
	Type  string          // of the backend, "" for nothing yet
	Way   json.RawMessage // netconf's value of that type
	Net   netconf.Config  // without Backend
	Lease lease.Lease
	Hole  bool // a blackhole route
	Rules netfilter.Rules
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
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("remember what is made: %w", err)
	}
	m := &memory{file: file, others: others}
	m.load()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("%w, process %d: end it first, or give this one another --subnet-file", errRuns, m.PID)
	}
	return m, nil
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

// load leaves the memory empty if the file is damaged, as one whose writer was
// killed may be.
func (m *memory) load() {
	text, err := io.ReadAll(m.file)
	if err != nil || json.Unmarshal(text, &m.held) != nil {
		m.held = held{}
	}
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

// config returns the config that the former agent went by, nil if there was
// none.
func (h held) config() (*netconf.Config, error) {
	way := newWay(h.Type)
	if way == nil {
		return nil, nil
	}
	if err := json.Unmarshal(h.Way, way); err != nil {
		return nil, err
	}
	cfg := h.Net
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
func (h *held) set(place backend.Node, cfg *netconf.Config) (err error) {
	h.Place, h.Type, h.Net = place, cfg.Backend.Type(), *cfg
	h.Net.Backend = nil
	h.Way, err = json.Marshal(cfg.Backend)
	return err
}

func (n *node) openMemory(context.Context) (err error) {
	if n.memory, err = openMemory(n.RunDir, n.SubnetFile); err != nil {
		return err
	}
	n.atEnd(func() { n.memory.file.Close() })
	return n.memory.save()
}

// replace takes back what a former agent made for a network whose devices have
// other names, or whose routes and addresses nobody would know for its own any
// more. What is called the same the backend itself adopts or makes anew.
func (n *node) replace(ctx context.Context) {
	former, err := n.memory.config()
	if err != nil || former == nil || adopts(n.config, former) {
		return
	}
	n.Log.Info("taking back what the former config needed", zap.String("backend", former.Backend.Type()))
	b, err := n.newBackend(n.memory.Place, former)
	if err == nil {
		err = b.Cleanup(ctx)
	}
	if err != nil {
		n.Log.Warn("something of the former config is left", zap.Error(err))
	}
}

// adopts reports whether the backend of a config takes over, or away, all that
// one of the former config made.
func adopts(cfg, former *netconf.Config) bool {
	return deviceOf(cfg) == deviceOf(former) && covers(cfg.IPv4, former.IPv4) && covers(cfg.IPv6, former.IPv6)
}

// covers reports whether a network is the former one, if there was one.
func covers(r, former netconf.Range) bool {
	return !former.Enabled() || r.Network == former.Network
}

// deviceOf tells configs apart whose nodes have different devices or routes.
func deviceOf(cfg *netconf.Config) string {
	if v, ok := cfg.Backend.(*netconf.VXLAN); ok {
		return fmt.Sprint(v.Type(), v.VNI)
	}
	return cfg.Backend.Type()
}

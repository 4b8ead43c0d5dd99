//go:build linux

package benchmark

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// weftLink is an end of a way that is weft's.
type weftLink struct {
	weft *vtep.Weft
	name string // of the device
	lock string // path of the file that names the daemon's process
}

func newWeftLink(h *lab.Host, p *Path, name string) (*weftLink, error) {
	netns, err := h.Inode()
	if err != nil {
		return nil, err
	}
	run := control.RunDir(filepath.Join(lab.RunDir(), p.Name))
	env := append([]string{control.EnvRunDir + "=" + string(run)}, p.env...)
	return &weftLink{weft: &vtep.Weft{Host: h, Env: env}, name: name, lock: run.Lock(netns)}, nil
}

// tally is counters by name. Those of weft are named as `weft stats` names
// them; "user" and "system" are its daemon's processor time in ticks.
type tally map[string]uint64

// plus is the sum of two tallies; that of none is none.
func (t tally) plus(other tally) tally {
	if other == nil {
		return t
	}
	sum := tally{}
	for name, n := range other {
		sum[name] = t[name] + n
	}
	return sum
}

// since is what was counted after an earlier tally.
func (t tally) since(before tally) tally {
	if t == nil {
		return nil
	}
	diff := tally{}
	for name, n := range t {
		diff[name] = n - before[name]
	}
	return diff
}

// tally adds up what weft counted at both ends of a way so far; nil where it
// has no part.
func (w *Way) tally() (tally, error) {
	var sum tally
	for _, e := range []End{w.From, w.To} {
		if e.link == nil {
			continue
		}
		t, err := e.link.tally()
		if err != nil {
			return nil, err
		}
		sum = sum.plus(t)
	}
	return sum, nil
}

func (l *weftLink) tally() (tally, error) {
	text, err := l.weft.Must("stats", l.name, "-j")
	if err != nil {
		return nil, err
	}
	var s dataplane.Stats
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("what `weft stats -j` printed: %w", err)
	}
	t := tally{
		"rx_packets": s.RxPackets, "tx_packets": s.TxPackets,
		"syscalls": s.Syscalls.DevRead + s.Syscalls.DevWrite + s.Syscalls.UDPSend + s.Syscalls.UDPRecv,
		"dev_gso":  s.Offload.DevGSO, "dev_uso": s.Offload.DevUSO, "udp_gso": s.Offload.UDPGSO, "udp_gro": s.Offload.UDPGRO,
		"tunnel_gso": s.Offload.TunnelGSO, "shortcut_tx": s.Offload.ShortcutTx, "shortcut_rx": s.Offload.ShortcutRx,
		"dev_ring": s.Offload.DevRing,
	}
	for reason, n := range s.Drops {
		t[dropPrefix+reason] = n
	}
	t["user"], t["system"], err = l.daemonTicks()
	return t, err
}

// dropPrefix stands before the reason in a tally.
const dropPrefix = "drops "

// daemonTicks is the processor time that the daemon has used.
func (l *weftLink) daemonTicks() (user, system uint64, err error) {
	pid, err := os.ReadFile(l.lock)
	if err != nil {
		return 0, 0, fmt.Errorf("finding the daemon's process: %w", err)
	}
	stat, err := os.ReadFile(filepath.Join("/proc", string(bytes.TrimSpace(pid)), "stat"))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the daemon's processor time: %w", err)
	}
	return processTicks(stat)
}

// processTicks finds utime and stime, fields 14 and 15 of proc_pid_stat(5).
// Field 2 is a name in parentheses, which may hold anything.
func processTicks(stat []byte) (user, system uint64, err error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, 0, fmt.Errorf("/proc/<pid>/stat has %d fields behind the name, want more than %d", len(fields), stime)
	}
	if user, err = strconv.ParseUint(string(fields[utime]), 10, 64); err != nil {
		return 0, 0, err
	}
	system, err = strconv.ParseUint(string(fields[stime]), 10, 64)
	return user, system, err
}

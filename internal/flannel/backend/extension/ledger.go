package extension

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weftnet/weft/internal/control"
)

// peer is what the commands are told of a node.
type peer struct {
	Subnet, IPv6Subnet   netip.Prefix
	PublicIP, PublicIPv6 netip.Addr
	Data                 string
}

// ledger is the peers for which SubnetAddCommand was run, by subnet. Nobody
// else can tell what the commands did, so it is kept in a file: the next
// process then removes those that are gone meanwhile. The file goes with the
// run directory at a reboot, as does what the commands did.
type ledger struct {
	path   string
	cookie uint64 // of the network namespace, 0 where that is not known
	peers  map[netip.Prefix]peer
}

// entry is a peer as the file has it.
type entry struct {
	peer
	Cookie uint64 `json:",omitempty"` // of the network namespace
}

// openLedger opens that of a network in the caller's network namespace.
func openLedger(network netip.Prefix) (*ledger, error) {
	dir, err := control.RunDirFromEnv()
	if err != nil {
		return nil, err
	}
	if _, err = dir.Create(); err != nil {
		return nil, err
	}
	netns, err := control.NetNS()
	if err != nil {
		return nil, err
	}
	name := strconv.FormatUint(netns, 10) + ".extension-" + strings.ReplaceAll(network.String(), "/", "-") + ".json"
	l := &ledger{filepath.Join(string(dir), name), control.NetNSCookie(), map[netip.Prefix]peer{}}
	return l, l.read()
}

func (l *ledger) read() error {
	text, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var entries []entry
	if err == nil {
		err = json.Unmarshal(text, &entries)
	}
	if err == nil {
		err = l.take(entries)
	}
	if err != nil {
		return fmt.Errorf("read for which nodes SubnetAddCommand was run, %s: %w", l.path, err)
	}
	return nil
}

var errGone = errors.New("it was in a network namespace that is gone, whose inode this one has by now")

// take leaves out what was done in another namespace, and has the file forget it.
func (l *ledger) take(entries []entry) error {
	gone := false
	for _, e := range entries {
		if control.OtherNetNS(e.Cookie, l.cookie) {
			gone = true
			continue
		}
		l.peers[e.Subnet] = e.peer
	}
	if !gone {
		return nil
	}
	return errors.Join(errGone, l.write())
}

// add and remove write the file each time: the process may be killed.
func (l *ledger) add(p peer) error {
	if l.peers[p.Subnet] == p {
		return nil
	}
	l.peers[p.Subnet] = p
	return l.write()
}

func (l *ledger) remove(p peer) error {
	delete(l.peers, p.Subnet)
	return l.write()
}

// write replaces the file by one rename.
func (l *ledger) write() error {
	if len(l.peers) == 0 {
		if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	entries := make([]entry, 0, len(l.peers))
	for _, p := range l.peers {
		entries = append(entries, entry{p, l.cookie})
	}
	text, err := json.Marshal(entries)
	if err == nil {
		err = os.WriteFile(l.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(l.path+".new", l.path)
	}
	if err != nil {
		return fmt.Errorf("write down for which nodes SubnetAddCommand was run: %w", err)
	}
	return nil
}

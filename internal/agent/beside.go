package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/netfilter"
)

// beside tells what the agents of other networks in this network namespace want
// of the packet filter, whose chains all share. Like their devices, their rules
// stay when they end, until `--cleanup` removes the file or the namespace is gone.
type beside struct {
	memory *memory
	known  map[string]netfilter.Rules // by file, as last read
}

func (b beside) rules() ([]netfilter.Rules, error) {
	paths, err := filepath.Glob(b.memory.others)
	if err != nil {
		return nil, err
	}
	var all []netfilter.Rules
	for _, path := range paths {
		if path == b.memory.file.Name() {
			continue
		}
		r, err := b.read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// read returns what was known before if the file is just being written, or was
// damaged when its writer was killed.
func (b beside) read(path string) (netfilter.Rules, error) {
	file, err := os.Open(path)
	if err != nil {
		return netfilter.Rules{}, err
	}
	defer file.Close()
	other, err := readHeld(file)
	switch {
	case err != nil:
	case control.OtherNetNS(other.Cookie, b.memory.Cookie):
		delete(b.known, path)
	default:
		b.known[path] = other.Rules
	}
	return b.known[path], nil
}

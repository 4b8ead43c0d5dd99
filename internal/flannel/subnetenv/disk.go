package subnetenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Read reads the file at path. One that does not exist says nothing.
func Read(path string) (File, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, nil
	}
	if err != nil {
		return File{}, fmt.Errorf("read the subnet file: %w", err)
	}
	return Parse(text), nil
}

// mode is that of a new file: it is for everybody, whatever the umask of the
// agent's.
const mode fs.FileMode = 0o644

// Write replaces the file at path by one rename, so that nobody reads half of
// it, and makes its folders where they are missing. The mode of a file that is
// there is kept.
func Write(path string, f File) error {
	if err := Replace(path, f.Encode()); err != nil {
		return fmt.Errorf("write the subnet file: %w", err)
	}
	return nil
}

// Replace does so with any text.
func Replace(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".")
	if err != nil {
		return err
	}
	if err = fill(tmp, text, modeOf(path)); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

func modeOf(path string) fs.FileMode {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return info.Mode().Perm()
	}
	return mode
}

func fill(f *os.File, text []byte, mode fs.FileMode) error {
	_, err := f.Write(text)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

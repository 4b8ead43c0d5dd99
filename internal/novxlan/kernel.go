package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// forbidden is the module that the guest must not have.
const forbidden = "vxlan"

// kernelTree is an unpacked kernel package.
type kernelTree struct {
	image   string            // path of the bootable image
	modules map[string]string // module name, with underscores, to path
	builtin map[string]bool   // names of the modules linked into the image
}

// findKernel returns the kernel in the user's cache, from the package deb or, where that is empty, from one it downloads.
func findKernel(ctx context.Context, deb string) (*kernelTree, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("no place for the downloaded kernel: %w", err)
	}
	cache := filepath.Join(base, "weft", "novxlan")
	pattern := "linux-image-*"
	if deb != "" {
		pattern = packageStem(deb)
	}
	if found, _ := filepath.Glob(filepath.Join(cache, pattern)); len(found) > 0 {
		return readTree(found[len(found)-1])
	}
	dir, err := fillCache(ctx, cache, deb)
	if err != nil {
		return nil, err
	}
	return readTree(dir)
}

// fillCache downloads (unless deb names a package) and unpacks beside the final place, so that a broken run leaves no half tree there.
func fillCache(ctx context.Context, cache, deb string) (string, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if deb == "" {
		if deb, err = downloadKernel(ctx, work); err != nil {
			return "", err
		}
	}
	tree := filepath.Join(work, "tree")
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, tree).CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack %s with dpkg-deb: %w\n%s", deb, err, out)
	}
	final := filepath.Join(cache, packageStem(deb))
	if err := os.Rename(tree, final); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return final, nil
}

func packageStem(deb string) string {
	return strings.TrimSuffix(filepath.Base(deb), ".deb")
}

// readTree finds the image and the modules under dir; usr/lib is where newer packages keep the modules.
func readTree(dir string) (*kernelTree, error) {
	images, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if len(images) != 1 {
		return nil, fmt.Errorf("%s has %d kernel images under boot/, want 1; remove it to have it fetched again", dir, len(images))
	}
	t := &kernelTree{image: images[0], modules: map[string]string{}, builtin: map[string]bool{}}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return t.note(path)
	})
	return t, err
}

func (t *kernelTree) note(path string) error {
	if name, _, found := strings.Cut(filepath.Base(path), ".ko"); found {
		t.modules[underscored(name)] = path
	}
	if filepath.Base(path) != "modules.builtin" {
		return nil
	}
	list, err := os.ReadFile(path)
	for _, entry := range strings.Fields(string(list)) {
		t.builtin[underscored(strings.TrimSuffix(filepath.Base(entry), ".ko"))] = true
	}
	return err
}

// underscored is how the kernel compares module names: foo-bar.ko is the module foo_bar.
func underscored(name string) string {
	return strings.ReplaceAll(name, "-", "_")
}

// module is one kernel module of the guest, uncompressed.
type module struct {
	name  string
	bytes []byte
}

// resolve reads the named modules and all that they depend on, in the order in which they can be loaded.
func (t *kernelTree) resolve(names []string) ([]module, error) {
	var order []module
	for _, name := range names {
		var err error
		if order, err = t.appendWithDepends(order, underscored(strings.TrimSpace(name))); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// appendWithDepends ends, as the kernel's dependencies have no cycle.
func (t *kernelTree) appendWithDepends(order []module, name string) ([]module, error) {
	loaded := slices.ContainsFunc(order, func(m module) bool { return m.name == name })
	switch {
	case name == "" || loaded || t.builtin[name]:
		return order, nil
	case name == forbidden:
		return nil, fmt.Errorf("a module of -modules depends on %s, which the guest must not have", forbidden)
	case t.modules[name] == "":
		return nil, fmt.Errorf("the kernel %s has no module %s", filepath.Base(t.image), name)
	}
	content, err := readModule(t.modules[name])
	if err != nil {
		return nil, err
	}
	depends, err := moduleDepends(content)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", name, err)
	}
	for _, needed := range depends {
		if order, err = t.appendWithDepends(order, underscored(needed)); err != nil {
			return nil, err
		}
	}
	return append(order, module{name, content}), nil
}

// readModule returns a module's ELF file; Debian 13 and later compress it.
func readModule(path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		return os.ReadFile(path)
	}
	content, err := exec.Command("xz", "--decompress", "--stdout", path).Output()
	if err != nil {
		return nil, fmt.Errorf("decompress %s with xz: %w", path, err)
	}
	return content, nil
}

// moduleDepends reads the names in a module's own .modinfo section; a package holds no modules.dep, which depmod makes on installing.
func moduleDepends(ko []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return nil, err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no .modinfo section: not a kernel module")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}

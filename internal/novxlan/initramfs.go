package main

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"
)

// plan tells the guest what to do; the initramfs carries it as JSON.
type plan struct {
	Modules []string   // paths in the guest, in order of loading
	Tests   [][]string // command lines in the guest
}

const (
	planPath  = "/plan.json"
	guestBin  = "/bin"
	guestMods = "/modules"
)

// writeInitramfs packs this program as init, the modules and the test binaries into a cpio archive.
func writeInitramfs(dst string, o options, modules []module) (err error) {
	file, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	buffered := bufio.NewWriter(file)
	archive := &cpioWriter{w: buffered}
	archive.dirs(guestBin, guestMods, "/dev", "/proc", "/sys", "/run", "/tmp", "/root", "/etc")
	p := plan{Modules: archive.modules(modules)}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := archive.program(self, guestInit); err != nil {
		return err
	}
	if p.Tests, err = archive.tests(o); err != nil {
		return err
	}
	if err := archive.finish(p); err != nil {
		return err
	}
	return buffered.Flush()
}

// cpioWriter writes the "newc" format that the kernel unpacks. The first error sticks and shows in finish.
type cpioWriter struct {
	w     io.Writer
	inode int
	err   error
}

func (c *cpioWriter) dirs(names ...string) {
	for _, name := range names {
		c.entry(name, 0o040755, nil)
	}
}

func (c *cpioWriter) modules(modules []module) []string {
	var paths []string
	for _, m := range modules {
		name := path.Join(guestMods, m.name+".ko")
		c.entry(name, 0o100644, m.bytes)
		paths = append(paths, name)
	}
	return paths
}

// tests adds the test binaries and returns their command lines.
func (c *cpioWriter) tests(o options) ([][]string, error) {
	// The test binary's own deadline comes first: its report shows where the test was stuck.
	deadline := max(o.timeout-30*time.Second, o.timeout/2)
	var lines [][]string
	for _, binary := range o.tests {
		name := path.Join(guestBin, filepath.Base(binary))
		if err := c.program(binary, name); err != nil {
			return nil, err
		}
		lines = append(lines, []string{name, "-test.v", "-test.run=" + o.run, "-test.timeout=" + deadline.String()})
	}
	return lines, nil
}

// program adds an executable, which must run without the host's libraries.
func (c *cpioWriter) program(src, dst string) error {
	content, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	if err := requireStatic(src); err != nil {
		return err
	}
	c.entry(dst, 0o100755, content)
	return nil
}

// requireStatic refuses what the guest cannot execute: no dynamic linker is there, and its processor is amd64.
func requireStatic(name string) error {
	file, err := elf.Open(name)
	if err != nil {
		return fmt.Errorf("%s: want a Linux program: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	if file.Machine != elf.EM_X86_64 {
		return fmt.Errorf("%s is for %v, want amd64: build it with GOARCH=amd64", name, file.Machine)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs shared libraries, which the guest has not: build it with CGO_ENABLED=0", name)
		}
	}
	return nil
}

func (c *cpioWriter) finish(p plan) error {
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	c.entry(planPath, 0o100644, content)
	c.entry("TRAILER!!!", 0, nil)
	return c.err
}

// entry writes one member. The kernel unpacks in order, so a directory must come before what it holds.
func (c *cpioWriter) entry(name string, mode int, content []byte) {
	c.inode++
	name = path.Clean(name)
	if path.IsAbs(name) {
		name = name[1:]
	}
	// ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
	c.padded(header + name + "\x00")
	c.padded(string(content))
}

// padded writes s and zeroes up to a multiple of four bytes; every header starts on one, so the length of s alone decides.
func (c *cpioWriter) padded(s string) {
	if c.err == nil {
		_, c.err = io.WriteString(c.w, s+"\x00\x00\x00"[:-len(s)&3])
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	qemuProgram   = "qemu-system-x86_64"
	qemuPackage   = "qemu-system-x86"
	kernelPackage = "linux-image-cloud-amd64"
)

// requireQEMU installs qemu by its package name where this process may do that.
func requireQEMU(ctx context.Context) error {
	if _, err := exec.LookPath(qemuProgram); err == nil {
		return nil
	}
	advice := fmt.Sprintf("%s is missing and cannot be installed here", qemuProgram)
	if err := requireApt(advice); err != nil {
		return fmt.Errorf("%w; install qemu's system emulator for x86_64", err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s: not root; have `apt-get install --no-install-recommends %s` run first", advice, qemuPackage)
	}
	fmt.Println("novxlan: installing the package", qemuPackage)
	_, err := aptRefreshed(ctx, "", "apt-get", "install", "-y", "--no-install-recommends", qemuPackage)
	return err
}

// downloadKernel fetches the package of the newest cloud kernel into dir, installing nothing, and returns its file name.
func downloadKernel(ctx context.Context, dir string) (string, error) {
	if err := requireApt("no kernel without vxlan is at hand and none can be downloaded here"); err != nil {
		return "", fmt.Errorf("%w; give a Debian kernel package with -kernel FILE.deb", err)
	}
	out, err := aptRefreshed(ctx, dir, "apt-cache", "depends", kernelPackage)
	if err != nil {
		return "", err
	}
	name, err := versionedKernel(out)
	if err != nil {
		return "", err
	}
	fmt.Println("novxlan: downloading the package", name)
	if _, err := aptRefreshed(ctx, dir, "apt-get", "download", name); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d packages in %s, want 1", name, len(debs), dir)
	}
	return debs[0], nil
}

// versionedKernel finds the package that the kernel's meta-package stands for in what apt-cache depends printed.
func versionedKernel(depends string) (string, error) {
	for line := range strings.Lines(depends) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && strings.HasPrefix(name, "linux-image-") {
			return name, nil
		}
	}
	return "", fmt.Errorf("the package %s depends on no linux-image package; give one with -kernel FILE.deb", kernelPackage)
}

func requireApt(advice string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%s: apt-get is missing", advice)
	}
	return nil
}

// aptRefreshed runs an apt command and, as root, once more after apt-get update: a fresh machine has no package lists or old ones.
func aptRefreshed(ctx context.Context, dir string, command ...string) (string, error) {
	out, err := aptRun(ctx, dir, command...)
	if err == nil || ctx.Err() != nil {
		return out, err
	}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%w\nif the package lists are old or missing, have `apt-get update` run as root", err)
	}
	if _, updateErr := aptRun(ctx, dir, "apt-get", "update"); updateErr != nil {
		return "", errors.Join(err, updateErr)
	}
	return aptRun(ctx, dir, command...)
}

// aptRun returns the command's output, or an error that carries it.
func aptRun(ctx context.Context, dir string, command ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

package main

import (
	"strings"
	"testing"
)

func TestResolveRefuses(t *testing.T) {
	tree := &kernelTree{image: "vmlinuz-6.1", modules: map[string]string{"vxlan": "vxlan.ko"}, builtin: map[string]bool{"ipv6": true}}
	for name, want := range map[string]string{
		"vxlan": "must not have",
		"gre":   "has no module gre",
	} {
		if _, err := tree.resolve([]string{"ipv6", name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, want)
		}
	}
}

func TestResolveNeedsNoFileForBuiltin(t *testing.T) {
	tree := &kernelTree{builtin: map[string]bool{"af_packet": true}}
	modules, err := tree.resolve([]string{" af-packet", ""})
	if err != nil || len(modules) != 0 {
		t.Errorf("got %v, %v, want no module and no error", modules, err)
	}
}

func TestVersionedKernel(t *testing.T) {
	const depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-9-cloud-amd64\n"
	if got, err := versionedKernel(depends); err != nil || got != "linux-image-6.1.0-9-cloud-amd64" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := versionedKernel("linux-image-cloud-amd64\n"); err == nil {
		t.Errorf("got %q, want an error", got)
	}
}

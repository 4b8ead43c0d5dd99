//go:build !linux

// Command demo needs network namespaces, which only Linux has.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "demo: it needs network namespaces and the kernel's vxlan device: run it on Linux")
	os.Exit(1)
}

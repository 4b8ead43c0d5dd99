// Package lantest holds the tests of the backends that need hosts on a wire:
// against each other, and against what flannel makes of the kernel's device.
package lantest

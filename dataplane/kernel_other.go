//go:build !linux

package dataplane

// kernelRelease is empty: what is known of kernels is known of Linux.
func kernelRelease() string { return "" }

package main

import (
	"bytes"
	"strings"
	"testing"
)

// The expected bytes follow the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
func TestCpioEntry(t *testing.T) {
	var got bytes.Buffer
	archive := &cpioWriter{w: &got}
	archive.entry("/etc/a", 0o100644, []byte("12345"))
	const zero = "00000000"
	want := "070701" + "00000001" + "000081a4" + zero + zero + "00000001" + zero + "00000005" + zero + zero + zero + zero +
		"00000006" + zero + "etc/a\x00" + "12345\x00\x00\x00"
	if archive.err != nil || got.String() != want {
		t.Errorf("got  %q, %v\nwant %q", got.String(), archive.err, want)
	}
}

func TestCpioEntriesStartAligned(t *testing.T) {
	var got bytes.Buffer
	archive := &cpioWriter{w: &got}
	for n := range 9 {
		archive.entry(strings.Repeat("n", n+1), 0o100644, bytes.Repeat([]byte{1}, n))
		if got.Len()%4 != 0 {
			t.Errorf("name of %d and content of %d bytes end at %d, want a multiple of 4", n+1, n, got.Len())
		}
	}
}

package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Nodes of `extension` run what the config names at their start, and for each other's
// subnets; a node that is cleaned up runs it for what goes.
func TestExtension(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	for name, script := range map[string]string{
		"pre":  "echo data",
		"post": `echo "post $SUBNET" >> ` + ran,
		"add":  `read data; echo "add $SUBNET of $PUBLIC_IP with $data" >> ` + ran,
		"gone": `echo "gone $SUBNET" >> ` + ran,
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	}
	w := newNetwork(t, 2)
	for i, n := range w.nodes {
		n.start()
		if i == 0 {
			w.configure(strings.ReplaceAll(`{"Network":"172.7.0.0/16","Backend":{"Type":"extension","PreStartupCommand":"DIR/pre",
				"PostStartupCommand":"DIR/post","SubnetAddCommand":"DIR/add","SubnetRemoveCommand":"DIR/gone"}}`, "DIR", dir))
		}
	}
	subnets := [2]string{}
	for i, n := range w.nodes {
		n.ready()
		subnets[i] = n.file().Subnet.Masked().String()
	}
	hasRun := func(line string) {
		t.Helper()
		eventually(t, func() error {
			text, _ := os.ReadFile(ran) // there is none before something has run
			if !strings.Contains(string(text), line+"\n") {
				return fmt.Errorf("%q has not run, but\n%s", line, text)
			}
			return nil
		})
	}
	for i, n := range w.nodes {
		hasRun("post " + subnets[i])
		hasRun(fmt.Sprintf("add %s of %v with data", subnets[i], n.addr))
	}
	n := w.nodes[1]
	n.signal(syscall.SIGTERM)
	if out := n.run(append([]string{"agent", "--cleanup"}, n.flags()...)...); out.Status != 0 {
		t.Error(out)
	}
	hasRun("gone " + subnets[0]) // by the node itself
	hasRun("gone " + subnets[1]) // by the other one
}

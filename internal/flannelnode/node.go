//go:build linux

// Package flannelnode makes a host of the lab a node of a flannel network: it runs
// `weft agent` in it as an operator does, and containers behind a bridge as
// docker does. It is for tests, benchmarks and the demo.
package flannelnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/flannel/subnetenv"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// HealthPort is where the agents of nodes answer probes.
const HealthPort = 2401

// soon is long enough for anything that is not stuck.
const soon = 30 * time.Second

// Node is a host with a run directory of its own, as a machine has.
type Node struct {
	*lab.Host
	Weft  *vtep.Weft
	Agent *lab.Process // the last one that was started
	Dir   string
	Iface string // by which flag agents find their interface, "" for none
}

// New makes the host a node whose interface is eth0; to be ended before the host is
// closed.
func New(h *lab.Host) (*Node, error) {
	dir, err := os.MkdirTemp(lab.RunDir(), "node")
	if err != nil {
		return nil, err
	}
	n := &Node{Host: h, Dir: dir, Iface: "-iface=eth0"}
	n.Weft = &vtep.Weft{Host: h, Env: []string{control.EnvRunDir + "=" + string(n.RunDir()), "GORACE=atexit_sleep_ms=0"}}
	return n, h.Sysctl("net.ipv4.ip_forward", "1")
}

// RunDir is where the node's agent and daemon keep their files.
func (n *Node) RunDir() control.RunDir { return control.RunDir(filepath.Join(n.Dir, "weft")) }

// SubnetFile is where the agent tells the subnet.
func (n *Node) SubnetFile() string { return filepath.Join(n.Dir, "subnet.env") }

// File is what the agent told the container runtime.
func (n *Node) File() (subnetenv.File, error) { return subnetenv.Read(n.SubnetFile()) }

// Flags are those that every agent of the node has, and more.
func (n *Node) Flags(more ...string) []string {
	flags := []string{"--subnet-file=" + n.SubnetFile(), fmt.Sprintf("--healthz-port=%d", HealthPort)}
	if n.Iface != "" {
		flags = append([]string{n.Iface}, flags...)
	}
	return append(flags, more...)
}

// Start starts an agent with Flags and does not wait.
func (n *Node) Start(more ...string) (err error) {
	n.Agent, err = n.Weft.Spawn(append([]string{"agent"}, n.Flags(more...)...)...)
	return err
}

// Ready waits until the agent says that it is.
func (n *Node) Ready() error {
	var ended error
	err := lab.Eventually(soon, func() error {
		select {
		case <-n.Agent.Ended():
			ended = fmt.Errorf("%s: the agent ended: %s", n.Name, n.Agent.Stderr())
			return nil
		default:
		}
		if status, body := n.Probe("/readyz"); status != http.StatusOK {
			return fmt.Errorf("%s: %d %s\n%s", n.Name, status, body, n.Agent.Stderr())
		}
		return nil
	})
	return errors.Join(err, ended)
}

// Probe asks the agent as a kubelet would. Status 0 is no answer.
func (n *Node) Probe(path string) (status int, body string) {
	resp, err := n.HTTP().Get(fmt.Sprintf("http://127.0.0.1:%d%s", HealthPort, path))
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// HTTP is a client in the node.
func (n *Node) HTTP() *http.Client {
	return &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true, DialContext: n.dial}}
}

func (n *Node) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	_ = n.Do(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return nil
	})
	return conn, err
}

// End ends the agent, which would make again what is deleted, and the daemon
// that agents have started, with its links.
func (n *Node) End() error {
	if n.Agent != nil {
		_ = n.Agent.Signal(os.Kill)
		_, _ = n.Agent.Wait(soon)
	}
	links, _ := n.Netlink().LinkList()
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, "flannel") {
			_ = n.Netlink().LinkDel(l)
		}
	}
	err := lab.Eventually(soon, func() error {
		if socks, _ := n.RunDir().Sockets(); len(socks) > 0 {
			return fmt.Errorf("%s: %v is still there", n.Name, socks)
		}
		return nil
	})
	return errors.Join(err, os.RemoveAll(n.Dir))
}

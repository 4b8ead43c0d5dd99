//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/weftnet/weft/internal/flannel/subnetenv"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

const healthPort = 2401

// member is a host of the flannel network with a container behind a bridge.
type member struct {
	name, datapath string
	addr           netip.Prefix // on its wire
	host           *lab.Host
	dir            string // its run directory and subnet.env, as a machine has its own
	agent          *lab.Process
	subnet         netip.Prefix // of its containers
	container      *lab.Host
	inside         netip.Addr // the container's address
}

func (m *member) makeHost() (err error) {
	if m.host, err = lab.NewHost(m.name); err != nil {
		return err
	}
	if m.dir, err = os.MkdirTemp(lab.RunDir(), "member"); err != nil {
		return err
	}
	return m.host.Sysctl("net.ipv4.ip_forward", "1")
}

func (m *member) weft() *vtep.Weft {
	w := weft(m.host)
	w.Env = []string{"WEFT_RUN_DIR=" + filepath.Join(m.dir, "weft")}
	return w
}

// start starts the agent; the member at the store's address runs the store.
func (m *member) start(store netip.Addr) (err error) {
	etcd := "--etcd-endpoints="
	if m.addr.Addr() == store {
		etcd = "--embedded-etcd="
	}
	m.agent, err = m.weft().Spawn("agent", "--iface=eth0", "--datapath="+m.datapath, "--subnet-file="+m.subnetFile(),
		fmt.Sprintf("--healthz-port=%d", healthPort), etcd+storeURL(store))
	return err
}

func (m *member) subnetFile() string { return filepath.Join(m.dir, "subnet.env") }

// running returns what the agent said if it has ended.
func (m *member) running() error {
	select {
	case <-m.agent.Ended():
		return fmt.Errorf("the agent of %s ended: %s", m.name, m.agent.Stderr())
	default:
		return nil
	}
}

// await waits for what the agent has to do, and not beyond the agent's end.
func (m *member) await(cond func() error) error {
	var ended error
	err := lab.Eventually(limit, func() error {
		if ended = m.running(); ended != nil {
			return nil
		}
		return cond()
	})
	return errors.Join(ended, err)
}

func (m *member) ready() error {
	client := m.client()
	return m.await(func() error {
		answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", healthPort))
		if err != nil {
			return err
		}
		return expectOK(answer)
	})
}

// addContainer starts one as docker would, by what the agent wrote for it.
func (m *member) addContainer() error {
	f, err := subnetenv.Read(m.subnetFile())
	if err != nil {
		return err
	}
	m.subnet = f.Subnet.Masked()
	gateway := m.subnet.Addr().Next()
	m.inside = gateway.Next()
	if m.container, err = lab.NewHost("container of " + m.name); err != nil {
		return err
	}
	within := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, m.subnet.Bits()) }
	for _, step := range []func() error{
		func() error { return m.host.AddBridge("docker0") },
		func() error { return m.host.AddAddr("docker0", within(gateway)) },
		func() error {
			return lab.Connect(lab.Port{Host: m.host, Dev: "veth0", MTU: f.MTU},
				lab.Port{Host: m.container, MTU: f.MTU, Addrs: []netip.Prefix{within(m.inside)}})
		},
		func() error { return m.host.SetMaster("docker0", "veth0") },
		func() error { return m.container.AddRoute(anywhere, "eth0", gateway) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// close ends the agent, which would make its device again, and then deletes
// that, so that the daemon ends by itself.
func (m *member) close() {
	if m.host == nil {
		return
	}
	if m.agent != nil {
		_, _ = m.agent.Stop()
	}
	_ = m.host.Delete(flannelDevice) // it may not have come to that
	if m.container != nil {
		_ = m.container.Close()
	}
	_ = m.host.Close()
	_ = os.RemoveAll(m.dir)
}

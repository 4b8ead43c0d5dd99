package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/lab"
)

// misses are the addresses that a link has told of, in order: MACs without an
// FDB entry (l2miss), and IP addresses without a neighbour entry (l3miss).
type misses struct {
	mu  sync.Mutex
	all []string
}

// watchMisses begins to listen to what either kind of link tells.
func watchMisses(t *testing.T, v *vtep) *misses {
	t.Helper()
	m := &misses{}
	if v.kind == kernel {
		m.listenToKernel(t, v)
	} else {
		m.listenToWeft(t, v)
	}
	return m
}

// listenToKernel takes the requests that the kernel sends to whoever listens:
// RTM_GETNEIGH to the group of neighbour changes.
func (m *misses) listenToKernel(t *testing.T, v *vtep) {
	t.Helper()
	link, err := v.Netlink().LinkByName(v.link)
	check(t, err)
	s, err := nl.SubscribeAt(netns.NsHandle(v.NetNS()), netns.None(), unix.NETLINK_ROUTE, unix.RTNLGRP_NEIGH)
	check(t, err)
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			messages, _, err := s.Receive()
			if err != nil {
				return // closed
			}
			for i := range messages {
				m.addKernel(&messages[i], link.Attrs().Index)
			}
		}
	})
	t.Cleanup(func() { s.Close(); ended.Wait() })
}

func (m *misses) addKernel(message *syscall.NetlinkMessage, index int) {
	n, err := netlink.NeighDeserialize(message.Data)
	if err != nil || message.Header.Type != unix.RTM_GETNEIGH || n.LinkIndex != index {
		return
	}
	switch {
	case n.HardwareAddr != nil:
		m.add(n.HardwareAddr.String())
	case n.IP != nil:
		m.add(n.IP.String())
	default:
		m.add(netip.IPv4Unspecified().String()) // which the kernel leaves out
	}
}

func (m *misses) listenToWeft(t *testing.T, v *vtep) {
	t.Helper()
	conn, err := control.Dial(context.Background(), v.weft.sockets()[0])
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	began := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		first := true
		err := conn.Stream(ctx, control.Request{Op: control.OpMonitor}, func(r control.Response) error {
			if first {
				first = false
				close(began)
			}
			for i := range r.Events {
				m.addWeft(&r.Events[i])
			}
			return nil
		})
		if err != nil && !errors.Is(err, context.Canceled) { // nil when the daemon has ended
			t.Errorf("monitor: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); ended.Wait(); conn.Close() })
	<-began
}

func (m *misses) addWeft(e *dataplane.FDBEvent) {
	switch e.Kind {
	case dataplane.EventMiss:
		m.add(net.HardwareAddr(e.Entry.MAC[:]).String())
	case dataplane.EventIPMiss:
		m.add(e.Address.String())
	case dataplane.EventLost:
		m.add(fmt.Sprintf("%d lost", e.Lost))
	}
}

func (m *misses) add(address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, address)
}

// until waits until an address is told of, and returns what was told of before
// it since the last call.
func (m *misses) until(t *testing.T, address string) (before []string) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		at := slices.Index(m.all, address)
		if at < 0 {
			return fmt.Errorf("%s is not told of; %v are", address, m.all)
		}
		before, m.all = slices.Clone(m.all[:at]), m.all[at+1:]
		return nil
	}))
	return before
}

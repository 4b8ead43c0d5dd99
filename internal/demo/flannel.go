//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/weftnet/weft/internal/flannelnode"
	"github.com/weftnet/weft/internal/lab"
)

// flannelConfig has neighbours on a wire reach each other by plain routes, as
// the host-gw backend does, and others by vxlan.
const flannelConfig = `{"Network":"10.42.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}`

// limit is long enough for anything that is not stuck.
const limit = 30 * time.Second

// overlay is a flannel network of three members. The router makes that kernel
// is no neighbour of the others:
//
//	user    10.4.7.21 ─┬─ router ─── kernel 10.4.8.22
//	host-gw 10.4.7.23 ─┘
type overlay struct {
	wire    *lab.Switch
	router  *lab.Host
	members []*member
}

func buildOverlay() (*overlay, error) {
	o := &overlay{}
	if err := o.build(); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *overlay) build() error {
	if err := o.lay(); err != nil {
		return err
	}
	for _, m := range o.members {
		if err := m.start(o.members[0].addr.Addr()); err != nil {
			return err
		}
	}
	if err := o.configure(); err != nil {
		return err
	}
	for _, m := range o.members {
		if err := m.ready(); err != nil {
			return err
		}
		if err := m.addContainer(); err != nil {
			return err
		}
	}
	return nil
}

// The router's addresses on its two wires.
var near, far = prefix("10.4.7.1/24"), prefix("10.4.8.1/24")

var anywhere = prefix("0.0.0.0/0")

// lay makes hosts and wires.
func (o *overlay) lay() (err error) {
	if o.wire, err = lab.NewSwitch(); err != nil {
		return err
	}
	if o.router, err = lab.NewHost("router"); err != nil {
		return err
	}
	if err := o.router.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		return err
	}
	if err := o.wire.Plug(lab.Port{Host: o.router, Addrs: []netip.Prefix{near}}); err != nil {
		return err
	}
	for _, m := range []*member{
		{name: "user", datapath: "user", addr: prefix("10.4.7.21/24")},
		{name: "kernel", datapath: "auto", addr: prefix("10.4.8.22/24")},
		{name: "host-gw", datapath: "user", addr: prefix("10.4.7.23/24")},
	} {
		o.members = append(o.members, m)
		if err := o.join(m); err != nil {
			return err
		}
	}
	return nil
}

// join makes the member's host and puts it on its wire.
func (o *overlay) join(m *member) error {
	if err := m.makeHost(); err != nil {
		return err
	}
	gateway, port := near, lab.Port{Host: m.host, Addrs: []netip.Prefix{m.addr}}
	plug := func() error { return o.wire.Plug(port) }
	if far.Contains(m.addr.Addr()) {
		gateway = far
		plug = func() error {
			return lab.Connect(port, lab.Port{Host: o.router, Dev: "eth1", Addrs: []netip.Prefix{far}})
		}
	}
	if err := plug(); err != nil {
		return err
	}
	return m.host.AddRoute(anywhere, "eth0", gateway.Addr())
}

// configure writes the config into the store that the first member runs, by
// etcd's JSON gateway.
func (o *overlay) configure() error {
	body, err := json.Marshal(map[string][]byte{"key": []byte(flannelnode.Prefix + "config"), "value": []byte(flannelConfig)})
	if err != nil {
		return err
	}
	first := o.members[0]
	client := first.client()
	return first.await(func() error {
		_, err := flannelnode.Post(client, storeURL(first.addr.Addr()), "kv/put", body)
		return err
	})
}

func storeURL(addr netip.Addr) string { return fmt.Sprintf("http://%v:2379", addr) }

func expectOK(answer *http.Response) error {
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Request.URL, answer.Status)
	}
	return nil
}

// client connects from the member.
func (m *member) client() *http.Client {
	dial := func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		_ = m.host.Do(func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return nil
		})
		return conn, err
	}
	return &http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
}

// close ends the agents, that of the store last, and takes the hosts away.
func (o *overlay) close() {
	for i := range o.members {
		o.members[len(o.members)-1-i].close()
	}
	if o.router != nil {
		_ = o.router.Close()
	}
	if o.wire != nil {
		_ = o.wire.Close()
	}
}

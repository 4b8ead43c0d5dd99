//go:build linux

package main

import (
	"cmp"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// scene is two hosts on one wire, three links between them:
//
//	        host user  link             host kernel
//	vxlan0  weft       VNI 5, 4789      kernel
//	both0   weft       VNI 6, 4790      weft
//	kern0   kernel     VNI 7, 4791      kernel
type scene struct {
	user, kernel *lab.Host
	words        []string // of weft's command line for vxlan0
	turn         time.Duration
}

// end is one end of a link.
type end struct {
	host *lab.Host
	addr netip.Prefix // inside
}

// pair is a link between the two hosts.
type pair struct {
	name         string
	vni          uint32
	port         uint16
	user, kernel netip.Prefix // addresses inside
	weftAt       [2]bool      // who is weft: the user host, the kernel host
}

var pairs = []pair{
	{"vxlan0", 5, 4789, prefix("10.20.1.2/24"), prefix("10.20.1.3/24"), [2]bool{true, false}},
	{"both0", 6, 4790, prefix("10.20.2.2/24"), prefix("10.20.2.3/24"), [2]bool{true, true}},
	{"kern0", 7, 4791, prefix("10.20.3.2/24"), prefix("10.20.3.3/24"), [2]bool{false, false}},
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func setUp() (*scene, error) {
	s := &scene{}
	var err error
	if s.user, err = lab.NewHost("user"); err != nil {
		return nil, err
	}
	if s.kernel, err = lab.NewHost("kernel"); err != nil {
		s.close()
		return nil, err
	}
	err = lab.Pair(s.user, s.kernel)
	for i := range pairs {
		if err == nil {
			err = s.connect(&pairs[i])
		}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *scene) connect(p *pair) error {
	a, b := lab.PairA4.Addr(), lab.PairB4.Addr()
	return errors.Join(
		s.add(p, end{s.user, p.user}, a, b, p.weftAt[0]),
		s.add(p, end{s.kernel, p.kernel}, b, a, p.weftAt[1]))
}

// add makes one end of a link, by weft or by the kernel, and brings it up.
func (s *scene) add(p *pair, e end, local, remote netip.Addr, byWeft bool) error {
	v := &lab.VXLAN{Name: p.name, ID: p.vni, Port: p.port, Local: local, Remote: remote, Dev: "eth0"}
	addrs := []netip.Prefix{e.addr}
	if !byWeft {
		return vtep.AddKernelLink(e.host, v, addrs)
	}
	if s.words == nil {
		s.words = vtep.Command(v)
	}
	return weft(e.host).AddLink(v, addrs)
}

// program is what `make build` made.
var program = cmp.Or(os.Getenv("WEFT_BIN"), "bin/weft")

// weft is the program in a host.
func weft(h *lab.Host) *vtep.Weft {
	return &vtep.Weft{Host: h, Program: program, Env: []string{"WEFT_RUN_DIR=" + lab.RunDir()}}
}

// close deletes the devices first, so that the daemons end by themselves.
func (s *scene) close() {
	for _, h := range []*lab.Host{s.user, s.kernel} {
		if h == nil {
			continue
		}
		for _, p := range pairs {
			_ = h.Delete(p.name) // it may not have come to that
		}
		_ = h.Close()
	}
}

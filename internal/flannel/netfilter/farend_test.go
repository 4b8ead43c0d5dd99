//go:build linux

package netfilter_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/netfilter"
	"github.com/weftnet/weft/internal/lab"
)

// view is what one family of the scene looks like from outside.
type view struct {
	subnet        [2]netip.Prefix
	host, outside netip.Addr // in the underlay: host 1, and who knows nothing of the network
	// Further addresses of host 1: of its subnet, of no network, of a third
	// node's subnet.
	spare, foreign, third netip.Addr
	group                 netip.Addr

	family                nftables.TableFamily
	sourceAt, destination uint32 // in the IP header
}

var views = map[string]view{
	"IPv4": {
		subnet: subnet4, host: host4[0].Addr(), outside: out4.Addr(),
		spare: addr("172.7.21.77"), foreign: addr("10.9.9.9"), third: addr("172.7.33.1"), group: addr("239.1.1.1"),
		family: nftables.TableFamilyIPv4, sourceAt: 12, destination: 16,
	},
	"IPv6": {
		subnet: subnet6, host: host6[0].Addr(), outside: out6.Addr(),
		spare: addr("fd00:7:0:21::77"), foreign: addr("fd00:9::9"), third: addr("fd00:7:0:33::1"), group: addr("ff05::1:1"),
		family: nftables.TableFamilyIPv6, sourceAt: 8, destination: 24,
	},
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestFarEnd goes through all that flannel's masquerade rules tell apart, in
// each place where they can be, and looks at the source that arrives.
func TestFarEnd(t *testing.T) {
	for place, prepare := range map[string]func(*testing.T, *scene, keeper, *netfilter.Rules){
		"own tables": func(*testing.T, *scene, keeper, *netfilter.Rules) {},
		"own tables beside iptables": func(t *testing.T, s *scene, _ keeper, r *netfilter.Rules) {
			iptablesTable(t, s.h[0], "filter")
			iptablesTable(t, s.h[0], "nat")
			r.NFT = true
		},
		"iptables": func(t *testing.T, s *scene, _ keeper, _ *netfilter.Rules) {
			iptablesTable(t, s.h[0], "filter")
			iptablesTable(t, s.h[0], "nat")
		},
		"iptables-legacy": func(t *testing.T, s *scene, k keeper, _ *netfilter.Rules) {
			lab.NeedLegacyIptables(t)
			k.k.WithoutNFT()
		},
	} {
		t.Run(place, func(t *testing.T) {
			lockFile(t)
			s := newScene(t)
			k, r := newKeeper(s.h[0]), rules(0)
			prepare(t, s, k, &r)
			k.apply(t, r)
			for name, v := range views {
				t.Run(name, func(t *testing.T) { v.farEnd(t, s) })
			}
		})
	}
}

func (v view) farEnd(t *testing.T, s *scene) {
	h, one, two := s.h[0], s.c[0], s.c[1]
	for _, a := range []netip.Addr{v.spare, v.foreign, v.third} {
		check(t, h.AddAddr("lo", prefixOf(a)))
	}
	check(t, s.outside.AddRoute(v.subnet[0], "eth0", v.host))
	here, there := container(v.subnet[0]), container(v.subnet[1])

	sees(t, one, two, there, here)               // container to container
	sees(t, one, s.outside, v.outside, v.host)   // container to the world
	sees(t, s.outside, one, here, v.outside)     // the world to a container, by its own address
	seesFrom(t, h, v.spare, two, there, v.spare) // the node's own address in the network
	seesFrom(t, h, v.foreign, two, there, v.host)
	seesFrom(t, h, v.third, two, there, v.host)
	v.keepsToGroup(t, s)

	// What others masquerade: a container that reaches itself, and what
	// kube-proxy marked.
	v.others(t, h)
	seesFrom(t, h, v.spare, one, here, bridge(v.subnet[0]))
	sees(t, one, two, there, here)
	v.mark(t, h)
	sees(t, one, two, there, v.host)
}

// keepsToGroup: what goes to a group keeps its source.
func (v view) keepsToGroup(t *testing.T, s *scene) {
	t.Helper()
	wire := lab.TestCapture(t, s.outside, "eth0")
	from, err := listen(s.h[0], netip.AddrPortFrom(v.spare, 0).String())
	check(t, err)
	defer from.Close()
	check(t, bindTo(from, "eth0")) // else it goes to the device that has the source
	_, err = from.WriteToUDPAddrPort([]byte("to all"), netip.AddrPortFrom(v.group, 9))
	check(t, err)
	const ethernet = 14
	_, err = wire.Wait(patience, func(f lab.Frame) bool {
		n := v.group.BitLen() / 8
		if len(f.Data) < ethernet+int(v.destination)+n {
			return false
		}
		ip := f.Data[ethernet:]
		return bytes.Equal(ip[v.destination:][:n], v.group.AsSlice()) && bytes.Equal(ip[v.sourceAt:][:n], v.spare.AsSlice())
	})
	if err != nil {
		t.Errorf("to the group %v from %v: %v", v.group, v.spare, err)
	}
}

func bindTo(c *net.UDPConn, dev string) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), dev) })
	return errors.Join(err, failed)
}

// others masquerade, later than all of iptables, what stays in the subnet and
// what is marked.
func (v view) others(t *testing.T, h *lab.Host) {
	t.Helper()
	onNFT(t, h, func(c *nftables.Conn) error {
		table := c.AddTable(&nftables.Table{Name: "others", Family: v.family})
		chain := c.AddChain(&nftables.Chain{
			Name: "post", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityRef(101),
		})
		prefix := v.subnet[0].Addr().AsSlice()[:v.subnet[0].Bits()/8]
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: v.sourceAt, Len: uint32(len(prefix))},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: prefix},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: v.destination, Len: uint32(len(prefix))},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: prefix},
			&expr.Masq{},
		}})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, 0x4001)},
			&expr.Masq{},
		}})
		return nil
	})
}

// mark marks all that comes in, with kube-proxy's bit and another.
func (v view) mark(t *testing.T, h *lab.Host) {
	t.Helper()
	onNFT(t, h, func(c *nftables.Conn) error {
		table := &nftables.Table{Name: "others", Family: v.family}
		chain := c.AddChain(&nftables.Chain{
			Name: "pre", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Immediate{Register: 1, Data: binary.NativeEndian.AppendUint32(nil, 0x4001)},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
		}})
		return nil
	})
}

// seesFrom is sees with a sender that chooses its own source address.
func seesFrom(t *testing.T, from *lab.Host, source netip.Addr, to *lab.Host, dst, want netip.Addr) {
	t.Helper()
	server, err := listen(to, netip.AddrPortFrom(dst, 0).String())
	check(t, err)
	defer server.Close()
	client, err := listen(from, netip.AddrPortFrom(source, 0).String())
	check(t, err)
	defer client.Close()
	got, err := deliver(client, server, patience)
	check(t, err)
	if got != want {
		t.Fatalf("%s %v to %s %v is seen as %v, not %v", from.Name, source, to.Name, dst, got, want)
	}
}

// TestService: a ClusterIP, in the underlay, whose backends are containers: the
// DNAT is before all this, and the answers find their way back.
func TestService(t *testing.T) {
	service := map[nftables.TableFamily]netip.Addr{
		nftables.TableFamilyIPv4: addr("192.168.100.5"), nftables.TableFamilyIPv6: addr("fd00:100::5"),
	}
	s := newScene(t)
	for i, h := range s.h {
		iptablesTable(t, h, "filter")
		iptablesTable(t, h, "nat")
		appendRule(t, h, "nat", "POSTROUTING", dockerMasquerade(i))
		newKeeper(h).apply(t, rules(i))
	}
	for _, v := range views {
		check(t, s.outside.AddRoute(prefixOf(service[v.family]), "eth0", v.host))
		for i := range s.c { // a backend here, and one there
			onNFT(t, s.h[0], func(c *nftables.Conn) error {
				table := c.AddTable(&nftables.Table{Name: "services", Family: v.family})
				chain := c.AddChain(&nftables.Chain{
					Name: "pre", Table: table, Type: nftables.ChainTypeNAT,
					Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
				})
				dst := service[v.family].AsSlice()
				c.FlushChain(chain)
				c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
					&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: v.destination, Len: uint32(len(dst))},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: dst},
					&expr.Immediate{Register: 1, Data: container(v.subnet[i]).AsSlice()},
					&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(v.family), RegAddrMin: 1},
				}})
				return nil
			})
			answered(t, s.outside, s.c[i], service[v.family], container(v.subnet[i]))
			if i == 1 { // the one on the other host is asked by a container, too
				answered(t, s.c[0], s.c[i], service[v.family], container(v.subnet[i]))
			}
		}
	}
}

// answered fails the test unless the backend's answer reaches the client as
// one of the service's.
func answered(t *testing.T, from, backend *lab.Host, service, at netip.Addr) {
	t.Helper()
	server, err := listen(backend, netip.AddrPortFrom(at, 0).String())
	check(t, err)
	defer server.Close()
	port := server.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	var client net.Conn // connected: it takes answers of the service alone
	check(t, from.Do(func() (err error) {
		client, err = net.Dial("udp", netip.AddrPortFrom(service, port).String())
		return err
	}))
	defer client.Close()
	exchange(t, client, server)
}

func exchange(t *testing.T, client net.Conn, server *net.UDPConn) {
	t.Helper()
	limit := time.Now().Add(patience)
	check(t, errors.Join(client.SetDeadline(limit), server.SetDeadline(limit)))
	_, err := client.Write([]byte("question"))
	check(t, err)
	buf := make([]byte, 100)
	_, source, err := server.ReadFromUDPAddrPort(buf)
	check(t, err)
	_, err = server.WriteToUDPAddrPort([]byte("answer"), source)
	check(t, err)
	n, err := client.Read(buf)
	if err != nil || string(buf[:n]) != "answer" {
		t.Fatalf("%v asked by %v: %q, %v", client.RemoteAddr(), source, buf[:n], err)
	}
}

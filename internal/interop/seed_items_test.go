package interop

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// Things that the tutorial says beside its lines.

// The default destination is the remote, for one station's frames and for all.
func TestRemoteIsWhereAllGoes(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String(), func(t *testing.T) {
			a, b := connect(t, p, underlay4, nil)
			capture := lab.TestCapture(t, b.Host, "eth0")
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			broadcast, unicast := 0, 0
			for _, e := range dissect.VXLANs(capture.Stop(), 4789) {
				if outerSource(e) != underlay4.a {
					continue
				}
				if !e.IPv4.DstIP.Equal(underlay4.b.AsSlice()) {
					t.Errorf("%v went to %v", e.Inner, e.IPv4.DstIP)
				}
				if e.Inner.LinkLayer().(*layers.Ethernet).DstMAC[0]&1 != 0 {
					broadcast++
				} else {
					unicast++
				}
			}
			if broadcast == 0 || unicast == 0 {
				t.Errorf("%d frames to a group and %d to one station, want some of each", broadcast, unicast)
			}
		})
	}
}

// Three links of one process share a port, and all carry at once.
func TestLinksShareAPort(t *testing.T) {
	t.Parallel()
	for _, p := range pairings[:3] {
		t.Run(p.String(), func(t *testing.T) {
			a, b := connect(t, p, underlay4, nil)
			for i, id := range []uint32{6, 7} {
				for _, end := range []struct {
					*vtep
					remote netip.Addr
					host   byte
				}{{a, underlay4.b, 2}, {b, underlay4.a, 3}} {
					addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 20, byte(2 + i), end.host}), 24)
					s := spec{VXLAN: lab.VXLAN{Name: fmt.Sprint("vxlan", i+1), ID: id, Port: 4789, Remote: end.remote, Dev: "eth0"}, Addrs: []netip.Prefix{addr}}
					end.addSibling(t, s)
				}
			}
			var all sync.WaitGroup
			for _, to := range []string{"10.20.1.3", "10.20.2.3", "10.20.3.3"} {
				all.Go(func() {
					if err := a.Ping(netip.MustParseAddr(to), lab.PingOptions{Count: 10}).Lost(); err != nil {
						t.Errorf("%s: %v", to, err)
					}
				})
			}
			all.Wait()
			for _, v := range []*vtep{a, b} {
				if n := listeners(t, v.Host, 4789); n != 1 {
					t.Errorf("%s has %d sockets on port 4789, want 1", v.Name, n)
				}
			}
		})
	}
}

// addSibling makes one more link of the same kind.
func (v *vtep) addSibling(t *testing.T, s spec) {
	t.Helper()
	if v.kind == user {
		v.addLink(t, s)
		return
	}
	check(t, v.AddKernelVXLAN(s.VXLAN))
	check(t, v.AddAddr(s.Name, s.Addrs[0]))
	check(t, v.SetUp(s.Name))
}

// listeners counts the IPv4 sockets on a port, as ss does.
func listeners(t *testing.T, h *lab.Host, port uint16) (n int) {
	t.Helper()
	check(t, h.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/udp")
		n = strings.Count(string(text), fmt.Sprintf(": 00000000:%04X ", port))
		return err
	}))
	return n
}

// A frame takes 50 bytes more outside than inside.
func TestOverhead(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String(), func(t *testing.T) {
			a, b := connect(t, p, underlay4, nil)
			capture := lab.TestCapture(t, b.Host, "eth0")
			check(t, a.Ping(b.addr, lab.PingOptions{Size: 18}).Lost())
			pings := 0
			for _, e := range dissect.VXLANs(capture.Stop(), 4789) {
				if e.Inner.Layer(layers.LayerTypeICMPv4) == nil {
					continue
				}
				pings++
				if within := len(e.Inner.Data()); within != 60 || e.Frame.Length != 110 {
					t.Errorf("a frame of %d bytes took %d, want 60 and 110", within, e.Frame.Length)
				}
			}
			if pings != 2 {
				t.Errorf("%d pings on the wire, want a request and a reply", pings)
			}
		})
	}
}

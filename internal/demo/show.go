//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

const (
	transferSize = 64 << 20
	rounds       = 3
)

func showHosts(s *scene) error {
	fmt.Println("Two hosts on one wire, 10.211.55.11 and 10.211.55.12. All traffic below is real.")
	for _, h := range []*lab.Host{s.user, s.kernel} {
		links, err := h.Netlink().LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Attrs().Name != pairs[0].name {
				continue
			}
			fmt.Printf("\n  host %s\n    vxlan0 is of type %q, mtu %d", h.Name, l.Type(), l.Attrs().MTU)
			if l.Type() == "vxlan" {
				fmt.Println(": the kernel's own vxlan device")
			} else {
				fmt.Printf(": userspace, by\n    weft %s\n", strings.Join(s.words, " "))
			}
		}
	}
	return nil
}

func showPings(s *scene) error {
	fmt.Println("\nPing, 3 each way, and the largest packet that fits (mtu 1450):")
	user, kernel := end{s.user, pairs[0].user}, end{s.kernel, pairs[0].kernel}
	for _, way := range [][2]end{{user, kernel}, {kernel, user}} {
		r := way[0].host.Ping(way[1].addr.Addr(), lab.PingOptions{Count: 3})
		if err := r.Lost(); err != nil {
			return err
		}
		fmt.Printf("  %-6s → %-6s  %d of %d answered, %.3f ms at best\n", way[0].host.Name, way[1].host.Name,
			r.Received, r.Sent, float64(slices.Min(r.RTTs).Microseconds())/1000)
	}
	if err := s.user.Ping(kernel.addr.Addr(), lab.PingOptions{Size: 1422, DF: true}).Lost(); err != nil {
		return err
	}
	err := s.user.Ping(kernel.addr.Addr(), lab.PingOptions{Size: 1423, DF: true}).Err
	if !errors.Is(err, syscall.EMSGSIZE) {
		return errors.Join(errors.New("ping -s 1423 -M do was not refused as too long"), err)
	}
	fmt.Println("  -s 1422 -M do answered, -s 1423 -M do: message too long")
	return nil
}

func showTransfers(s *scene) error {
	fmt.Println("\nTCP, 64 MiB each way, every byte compared:")
	user, kernel := end{s.user, pairs[0].user}, end{s.kernel, pairs[0].kernel}
	for _, way := range [][2]end{{user, kernel}, {kernel, user}} {
		t, err := lab.Transfer(way[0].host, way[1].host, anyPort(way[1].addr), transferSize)
		if err != nil {
			return err
		}
		fmt.Printf("  %-6s → %-6s  %d bytes arrived as they were sent, in %d ms\n",
			way[0].host.Name, way[1].host.Name, t.Bytes, t.Duration.Milliseconds())
	}
	return nil
}

func anyPort(p netip.Prefix) netip.AddrPort { return netip.AddrPortFrom(p.Addr(), 0) }

// course is a way whose throughput is shown.
type course struct {
	name     string
	pair     *pair
	backward bool // from the kernel host to the user host
	rates    []float64
}

// showThroughput takes turns, so that a machine whose speed drifts treats all
// alike, and shows medians beside the kernel's.
func showThroughput(s *scene) error {
	fmt.Printf("\nThroughput, one TCP stream, cubic, offloads on, median of %d turns of %v:\n", rounds, s.turn)
	courses := []*course{
		{name: "kernel → kernel", pair: &pairs[2]},
		{name: "weft   → weft", pair: &pairs[1]},
		{name: "weft   → kernel", pair: &pairs[0]},
		{name: "kernel → weft", pair: &pairs[0], backward: true},
	}
	for range rounds {
		for _, c := range courses {
			if err := c.measure(s); err != nil {
				return err
			}
		}
	}
	base := median(courses[0].rates)
	for _, c := range courses {
		fmt.Printf("  %s  %6.2f Gbit/s  %.2f of the kernel's\n", c.name, median(c.rates)/1e9, median(c.rates)/base)
	}
	return nil
}

func (c *course) measure(s *scene) error {
	from, to, addr := s.user, s.kernel, c.pair.kernel
	if c.backward {
		from, to, addr = s.kernel, s.user, c.pair.user
	}
	rate, err := lab.Throughput(from, to, anyPort(addr), s.turn, 1)
	if err != nil {
		return err
	}
	c.rates = append(c.rates, rate.BitsPerSecond())
	return nil
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

// showPacket captures one echo request on the wire and takes it apart.
func showPacket(s *scene) error {
	capture, err := s.kernel.Capture("eth0")
	if err != nil {
		return err
	}
	if err := s.user.Ping(pairs[0].kernel.Addr(), lab.PingOptions{Size: 18}).Lost(); err != nil {
		return err
	}
	for _, e := range dissect.VXLANs(capture.Stop(), pairs[0].port) {
		if len(e.Inner.Layers()) < 3 {
			continue // ARP
		}
		fmt.Printf("\nOne packet on the wire, %d bytes, layer by layer:\n", len(e.Frame.Data))
		for _, l := range e.Outer.Layers()[:3] {
			printLayer(l, "")
		}
		fmt.Printf("  VXLAN      % x  VNI %d\n", e.Header, e.VXLAN.VNI)
		for _, l := range e.Inner.Layers() {
			printLayer(l, "  ")
		}
		return nil
	}
	return errors.New("no VXLAN datagram was captured")
}

func showFigures(s *scene) error {
	figures, err := weft(s.user).Must("stats", "vxlan0")
	if err != nil {
		return err
	}
	fmt.Println("\nWhat weft counted (weft stats vxlan0):")
	fmt.Print(figures)
	return nil
}

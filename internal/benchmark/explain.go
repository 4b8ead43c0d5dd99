//go:build linux

package benchmark

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// explanation says in a paragraph where the time goes on a machine, from what
// was measured there.
type explanation struct {
	sentences []string
	used      tally // in all works of all modes
}

func (e *explanation) say(format string, args ...any) {
	e.sentences = append(e.sentences, fmt.Sprintf(format, args...))
}

// text is the paragraph.
func (e *explanation) text() string {
	e.offloads()
	return strings.Join(e.sentences, " ")
}

// The works that it looks at.
const (
	explainedTCP      = "TCP/streams=1"
	explainedOverload = "UDPOverload/size=64"
)

// add explains a mode.
func (e *explanation) add(m Mode, measured []*Comparison) {
	for _, c := range measured {
		l := c.find("weft")
		if l == nil {
			continue
		}
		e.used = e.used.plus(l.counted)
		switch c.work.Name() {
		case explainedTCP:
			e.speed(m, c)
			e.shares(l)
		case explainedOverload:
			e.losses(l)
		}
	}
}

// find is the lane of a path, or nil.
func (c *Comparison) find(path string) *lane {
	i := slices.IndexFunc(c.lanes, func(l *lane) bool { return l.way.Path.Name == path })
	if i < 0 {
		return nil
	}
	return c.lanes[i]
}

// speed compares one stream with the references.
func (e *explanation) speed(m Mode, c *Comparison) {
	f := c.Figures(slices.Index(c.lanes, c.find("weft")))
	var beside, cost []string
	for _, r := range c.lanes {
		if !r.reference {
			continue
		}
		name := inWords[r.way.Path.Name]
		beside = append(beside, fmt.Sprintf("%.2f of what %s did", f[r.way.Path.Ratio], name))
		cost = append(cost, fmt.Sprintf("%.2f with %s", medians(r.rounds)[cpuPerGB], name))
	}
	e.say("One TCP stream %s went through weft at %.1f Gbit/s, %s.", m.inWords, f[gbps], strings.Join(beside, " and "))
	e.say("A gigabyte took %.2f CPU seconds of the whole machine, and %s.", f[cpuPerGB], strings.Join(cost, " and "))
}

// inWords are the references.
var inWords = map[string]string{"kernel": "the kernel's vxlan", "veth": "the plain wire", "weft-portable": "weft without offloads"}

// shares divides the machine's time.
func (e *explanation) shares(l *lane) {
	f := Figures{}
	l.setShares(f)
	rest := max(0, 100-f[weftUser]-f[weftSystem])
	if len(e.sentences) > 2 {
		e.say("Of weft's, %.0f %% were its own code, %.0f %% its system calls, %.0f %% neither.", f[weftUser], f[weftSystem], rest)
	} else {
		e.say("Of weft's, %.0f %% were its own code (headers, checksums, cutting and joining), "+
			"%.0f %% its system calls (copies between device, program and socket, and the network stack behind them), "+
			"and %.0f %% neither (the two ends of the traffic, interrupts, other programs).", f[weftUser], f[weftSystem], rest)
	}
	e.say("%.1f packets shared a system call.", f[perCall])
	if d := l.drops(); len(d) > 0 {
		e.say("Dropped meanwhile: %s.", list(d))
	}
}

// losses says what happens to datagrams that are too many.
func (e *explanation) losses(l *lane) {
	lost := medians(l.rounds)[loss]
	if lost < 1 {
		e.say("Of 64-byte datagrams sent as fast as they go next to none were lost.")
		return
	}
	why := "weft counted none of them"
	if d := l.drops(); len(d) > 0 {
		why = list(d)
	}
	e.say("Of 64-byte datagrams sent as fast as they go %.0f %% were lost: %s.", lost, why)
}

// list names drops, the most frequent first.
func list(drops map[string]uint64) string {
	reasons := slices.SortedFunc(maps.Keys(drops), func(a, b string) int {
		if drops[a] != drops[b] {
			return int(min(drops[b], 1<<30)) - int(min(drops[a], 1<<30))
		}
		return strings.Compare(a, b)
	})
	for i, r := range reasons {
		reasons[i] = fmt.Sprintf("%d for %s", drops[r], r)
	}
	return strings.Join(reasons, ", ")
}

// offloads says which engaged.
func (e *explanation) offloads() {
	var on, off []string
	for _, o := range []struct{ counter, words string }{
		{"dev_gso", "TCP super-frames at the device"},
		{"dev_uso", "UDP super-frames at the device"},
		{"udp_gso", "UDP_SEGMENT on sending"},
		{"udp_gro", "UDP_GRO on receiving"},
		{"tunnel_gso", "TCP super-frames sent whole"},
		{"shortcut_tx", "busy flows sent by the kernel alone"},
		{"shortcut_rx", "busy flows received by the kernel alone"},
		{"dev_ring", "floods of datagrams read without a system call each"},
	} {
		if e.used[o.counter] > 0 {
			on = append(on, o.words)
		} else {
			off = append(off, o.words+" ("+o.counter+")")
		}
	}
	if len(on) > 0 {
		e.say("Of the offloads these engaged: %s.", strings.Join(on, ", "))
	}
	if len(off) > 0 {
		e.say("These did not: %s; `weft link show` says of a link which it has, and why not.", strings.Join(off, ", "))
	}
}

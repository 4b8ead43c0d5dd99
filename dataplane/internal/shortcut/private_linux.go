//go:build !portable

package shortcut

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// privates are the devices that programs give packets to on their way. Anybody may
// take one down or delete it, and a program cannot see that: what it gives to such a
// device is lost. So the kernel tells of its changes, and programs read from memory
// which devices they may use.
type privates struct {
	slot    *Slot             // has their indices
	netlink *netlink.Handle   // in their namespace; the joiner's
	changes *nl.NetlinkSocket // of devices there; nil before it is followed
	tell    func(Lack)
	follows sync.WaitGroup

	mu     sync.Mutex
	closed bool
	uses   []*use
	all    []*private
	report *time.Timer
	since  time.Time // when something was last published
}

// private is one of the devices.
type private struct {
	name      string
	index     int
	mac       net.HardwareAddr // another device of the same index has another
	condition condition
	told      condition
}

// condition is what makes a device of no use. The worst one of several is the
// cause of the others.
type condition uint8

const (
	usable condition = iota
	noCarrier
	unknown
	down
	gone // or in another namespace; it is not looked for again
)

var conditionNames = [...]string{noCarrier: "it has no carrier", unknown: "it cannot be looked at", down: "it is down", gone: "it is gone"}

func (c condition) String() string { return conditionNames[c] }

// use is what programs do by some of the devices.
type use struct {
	word    int        // of the slot
	through []*private // what has to be up for it; the packets are given to in
	in      *private
	slower  string // what is so without
	sends   bool   // it serves what is sent, beside what is received
	refused string // why it was not to be had from the start, or ""
	name    string // of the device that there would be
}

// What is slower without the devices.
const (
	withoutJoiner   = "TCP segments that arrive one by one are not joined"
	withoutCutter   = "super-frames with a shorter last segment, and runs of datagrams, are cut by this process"
	withoutScrubber = "super-frames to be passed on are received by this process"
)

// follow begins to look after the devices, in the calling thread's network
// namespace, which is theirs.
func (p *privates) follow(t *Table) (err error) {
	p.netlink = t.joiner.netlink
	if p.changes, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK); err != nil {
		return fmt.Errorf("watch the devices of this namespace: %w", err)
	}
	p.devices(t)
	p.report = time.AfterFunc(tellAfter, p.tellChanges)
	p.look(0)
	p.follows.Go(p.run)
	return nil
}

// devices lists them, by what they are for.
func (p *privates) devices(t *Table) {
	name := t.joiner.name
	pair := []*private{p.device(name + "a"), p.device(name + "b")}
	p.uses = []*use{
		{word: wordJoiner, through: pair, in: pair[0], slower: withoutJoiner},
		{word: wordCutter, slower: withoutCutter, sends: true, refused: t.cutter.refused, name: name + "c"},
		{word: wordScrubber, slower: withoutScrubber, refused: t.scrubber.refused, name: name + "d"},
	}
	for i, u := range p.uses[1:] {
		if u.refused != "" {
			continue
		}
		u.in = p.device(u.name)
		if u.through = []*private{u.in}; i == 0 {
			u.through = append(slices.Clone(pair), u.in)
		}
	}
}

func (p *privates) device(name string) *private {
	d := &private{name: name}
	if found, err := p.netlink.LinkByName(name); err == nil {
		d.index, d.mac = found.Attrs().Index, found.Attrs().HardwareAddr
	}
	p.all = append(p.all, d)
	return d
}

// run takes what the kernel tells until the socket is closed.
func (p *privates) run() {
	for {
		messages, _, err := p.changes.Receive()
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
			p.look(0) // something was not told
		case err != nil:
			p.lose()
			return
		}
		for i := range messages {
			p.take(&messages[i])
		}
	}
}

// take looks at the device that a message is about. The message may be older than
// what was seen already.
func (p *privates) take(m *syscall.NetlinkMessage) {
	if len(m.Data) >= unix.SizeofIfInfomsg {
		p.look(int(nl.DeserializeIfInfomsg(m.Data).Index))
	}
}

// look sees what has become of the device with an index, or of all with 0.
func (p *privates) look(index int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ours := false
	for _, d := range p.all {
		if (index == 0 || d.index == index) && d.condition != gone {
			d.condition, ours = d.look(p.netlink), true
		}
	}
	if ours {
		p.publish()
	}
}

func (d *private) look(h *netlink.Handle) condition {
	found, err := h.LinkByIndex(d.index)
	var none netlink.LinkNotFoundError
	switch {
	case errors.As(err, &none), errors.Is(err, unix.ENODEV):
		return gone
	case err != nil:
		return unknown
	case !bytes.Equal(found.Attrs().HardwareAddr, d.mac):
		return gone
	}
	switch flags := found.Attrs().RawFlags; {
	case flags&unix.IFF_UP == 0:
		return down
	case flags&unix.IFF_RUNNING == 0:
		return noCarrier
	}
	return usable
}

// lose leaves the devices alone, since nothing is told of them any more.
func (p *privates) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.all {
		d.condition = max(d.condition, unknown)
	}
	p.publish()
}

// publish lets programs know, at once, and whoever reads the log once all that
// belongs together has been told.
func (p *privates) publish() {
	for _, u := range p.uses {
		index := 0
		if d := u.lacks(); u.in != nil && d == nil {
			index = u.in.index
		}
		p.slot.words[u.word].Store(uint64(index))
	}
	p.since = time.Now()
	p.report.Reset(tellAfter)
}

const (
	tellAfter   = 100 * time.Millisecond // more than it takes to tell all of one change
	carrierWait = 2 * time.Second        // the kernel may let a second pass before a carrier is there
)

// lacks returns the device that is to blame if there is none to be used, or nil.
func (u *use) lacks() (worst *private) {
	for _, d := range u.through {
		if d.condition != usable && (worst == nil || d.condition > worst.condition) {
			worst = d
		}
	}
	return worst
}

// tellChanges tells of each device that is to blame, or is no more, unless that was
// told before.
func (p *privates) tellChanges() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, d := range p.all {
		var slower []string
		now := usable
		for _, u := range p.uses {
			if u.lacks() == d {
				slower, now = append(slower, u.slower), d.condition
			}
		}
		if now == noCarrier && time.Since(p.since) < carrierWait {
			p.report.Reset(carrierWait)
			continue
		}
		if now != d.told {
			d.told = now
			p.tell(Lack{Device: d.name, Why: now.String(), Slower: strings.Join(slower, "; "), Remedy: d.remedy()})
		}
	}
}

func (d *private) remedy() string {
	switch d.told {
	case usable:
		return ""
	case down, noCarrier:
		return "ip link set " + d.name + " up"
	}
	return "start weft again"
}

// tellRefused tells of what was not to be had from the start.
func (p *privates) tellRefused() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.uses {
		if u.refused != "" {
			p.tell(Lack{Device: u.name, Why: u.refused, Slower: u.slower})
		}
	}
}

// Without says which devices programs do without, and why: for what they send, and
// for what they receive.
func (t *Table) Without() (tx, rx string) {
	p := &t.privates
	p.mu.Lock()
	defer p.mu.Unlock()
	var sends, receives []string
	for _, u := range p.uses {
		text := u.without()
		if text == "" {
			continue
		}
		if u.sends {
			sends = append(sends, text)
		}
		if !slices.Contains(receives, text) {
			receives = append(receives, text)
		}
	}
	return strings.Join(sends, "; "), strings.Join(receives, "; ")
}

func (u *use) without() string {
	if u.refused != "" {
		return u.name + ": " + u.refused
	}
	if d := u.lacks(); d != nil {
		return d.name + ": " + d.condition.String()
	}
	return ""
}

// close ends it. No program may run any more.
func (p *privates) close() {
	if p.changes != nil {
		p.changes.Close()
	}
	p.follows.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.report != nil {
		p.report.Stop()
	}
	if p.slot != nil {
		for _, u := range p.uses {
			p.slot.words[u.word].Store(0)
		}
		slots.free(p.slot)
		p.slot = nil
	}
}

// device has the index of a private device in a register, 0 if there is none to be
// used.
func (t *Table) device(a *assembler, r asm.Register, word int) {
	a.add(asm.LoadMapValue(r, t.slots.FD(), uint32(t.privates.slot.offset()+word*8)))
	a.load64(r, r, 0)
}

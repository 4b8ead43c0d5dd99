//go:build !portable

package underlay

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// devices tells which underlay devices super-frames leave by whole. To ask
// takes the kernel's one lock for all changes to devices (RTNL), which others
// may hold for long: so only the first answer is waited for, and later ones
// come from another goroutine.
type devices struct {
	known map[int]*device
	stale chan *device // to be asked again
	done  chan struct{}

	asking   sync.Mutex // held while one is asked
	socket   int        // IPv4, without a port
	features features
	policies *ipsecPolicies
}

// device is what is known of one.
type device struct {
	index  int
	until  time.Duration
	answer atomic.Pointer[deviceAnswer]
}

// deviceAnswer says why a device does not send what is not built by a socket,
// or does so only in part: "" if it does.
type deviceAnswer struct{ refused, uncut string }

func openDevices() (*devices, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := &devices{
		known: map[int]*device{}, stale: make(chan *device, 16), done: make(chan struct{}),
		socket: socket, policies: openIPsecPolicies(),
	}
	go d.renew()
	return d, nil
}

func (d *devices) renew() {
	defer close(d.done)
	for one := range d.stale {
		d.ask(one)
	}
}

func (d *devices) close() {
	close(d.stale)
	<-d.done
	d.policies.close()
	unix.Close(d.socket)
}

// of says what leaves by a device, as of about a second ago.
func (d *devices) of(index int, now time.Duration) *deviceAnswer {
	one := d.known[index]
	switch {
	case one == nil:
		one = &device{index: index, until: now + answerAge}
		d.known[index] = one
		d.ask(one)
	case now >= one.until:
		select {
		case d.stale <- one:
			one.until = now + answerAge
		default: // busy with others
		}
	}
	return one.answer.Load()
}

func (d *devices) ask(one *device) {
	d.asking.Lock()
	defer d.asking.Unlock()
	one.answer.Store(d.look(one.index))
}

func (d *devices) look(index int) *deviceAnswer {
	req, _ := unix.NewIfreq("x")
	req.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(d.socket, unix.SIOCGIFNAME, req); err != nil {
		return &deviceAnswer{refused: fmt.Sprintf("look for the underlay device: %v", err)}
	}
	name := req.Name()
	if err := unix.IoctlIfreq(d.socket, unix.SIOCGIFHWADDR, req); err != nil {
		return &deviceAnswer{refused: fmt.Sprintf("address of %s: %v", name, err)}
	}
	switch {
	case req.Uint16() != unix.ARPHRD_ETHER:
		return &deviceAnswer{refused: name + " is no Ethernet device"}
	case d.policies.any():
		return &deviceAnswer{refused: "there are IPsec policies, which it would go past"}
	}
	if err := d.features.want(d.socket, name, tunnelFeatures...); err != nil {
		return &deviceAnswer{uncut: err.Error()}
	}
	return &deviceAnswer{}
}

// tunnelFeatures have a device cut super-frames inside tunnels, or carry them
// whole.
var tunnelFeatures = []string{"tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"}

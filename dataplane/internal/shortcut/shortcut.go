// Package shortcut has the kernel carry flows by itself once weft has carried
// their first frames: a program on what a link's device sends puts the outer
// headers around a frame and gives it to the underlay device, another one on
// what the underlay device receives takes them off and gives the frame to the
// link's device. Nothing is copied and no process is woken.
//
// The programs decide nothing. They know the flows that were told to them, each
// with headers ready to be sent, and leave everything else, and everything
// unusual in those flows, to the process, which does what it always does. What
// they were told holds for a moment (Grant) and not at all after the first
// change of its link; then a frame has to make the whole way again, through the
// FDB, the routes and the firewall.
//
// TCP segments that arrive one by one make a detour, through a pair of devices
// in which the kernel joins them to super-frames (see joiner).
//
// A flow's frames are not reordered. While any that the process has not yet
// sent may be queued to it, it gets the later ones too: each flow knows when a
// frame was last left to the process, and each queue since when it is known to
// have been empty.
//
// In a flood it never is: each datagram is queued behind the one before. Where a
// queue overflows, and loses packets anyway, the process has programs drop the
// datagrams that would only wait in it, until it has been emptied (Slot.Empty).
//
// Datagrams one by one are what a kernel is slow with. Where a core has nothing else to
// do any more, the program leaves them to the process again, which takes many at once,
// but by a way that takes no system call for each (Ring).
package shortcut

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/weftnet/weft/routetable"
)

// Lease is how long a program goes by what it was told, unless that is renewed.
const Lease = time.Second

// settle is how long after it was told of a flow a program waits for the queue
// to be empty: by then no frame can be under way that it saw before.
const settle = time.Millisecond

// Enqueue is how long a packet may take from a program that leaves it to the
// process, and notes the time, to the queue. A queue that was seen empty sooner
// may have been so before the packet came.
const Enqueue = 100 * time.Microsecond

// homeFor is how long a device that was seen in its namespace is taken to be
// there: far less than it takes to move one and bring it up again.
const homeFor = 100 * time.Microsecond

// Slot is memory that programs read and the process writes: of a link, or of a
// socket that it receives by.
type Slot struct {
	index int
	words *[slotWords]atomic.Uint64
}

const (
	slotWords   = 8
	wordVersion = 0
	wordDrained = 1
	wordDevice  = 2 // index of the link's device
	wordEmpty   = 3 // until when datagrams that would wait in the queue are dropped, a time of Now
	wordHome    = 4 // when the link's device was last seen in the table's namespace, a time of Now
	wordMAC     = 5 // that frames for the link's device have, see macWord
	wordLeft    = 6 // packets of known flows that were left to the queue
	wordRing    = 7 // offset of the slot of the link's ring

	// Of a ring's slot.
	wordWake = 3 // position behind which something in the ring is to wake its reader; 0 while it is awake
	wordCalm = 4 // until when nothing is taken for a flood, a time of Now
	wordShut = 5 // until when datagrams that would wait in the ring are dropped, a time of Now
	wordFull = 6 // datagrams that were dropped because the ring was full

	// Of the table's own slot, which has no queue, indices of private devices; 0 while
	// one cannot be used.
	wordJoiner   = 3
	wordCutter   = 6
	wordScrubber = 7
)

// Index tells slots that are in use apart.
func (s *Slot) Index() int { return s.index }

// Changes counts the changes of a link: whoever changes what its frames meet
// adds one, and flows that were told before are the process's again.
func (s *Slot) Changes() *atomic.Uint64 { return &s.words[wordVersion] }

// Drained notes that all that came into the queue before at, a time of Now, has
// been sent on.
func (s *Slot) Drained(at uint64) { s.words[wordDrained].Store(at) }

// Left counts the packets that programs have left to the queue, as far as they knew
// the flow.
func (s *Slot) Left() uint64 { return s.words[wordLeft].Load() }

// Empty has programs drop the datagrams, of flows that they could carry, that would
// only wait in the queue, until a time of Now; 0 ends it. TCP is left as it is: it
// slows down by itself.
func (s *Slot) Empty(until uint64) { s.words[wordEmpty].Store(until) }

// Figures are what programs have carried of a link, and how many datagrams they
// dropped while its device's queue, or the socket's, was being emptied.
type Figures struct{ TxPackets, TxBytes, RxPackets, RxBytes, TxDropped, RxDropped uint64 }

// Where they lie in Figures, in bytes.
const (
	figureTx        = 0
	figureRx        = 16
	figureTxDropped = 32
	figureRxDropped = 40
	figuresLen      = 48
)

// Lack is a private device that programs do without.
type Lack struct {
	Device string
	Why    string // "" when it is used again
	Slower string // what is so meanwhile
	Remedy string // "" where none is known
}

// Send is a flow that leaves by a link's device.
type Send struct {
	Kind    Kind
	Frame   []byte // one of its frames: Ethernet unless it is Bare, IPv4 without options or IPv6, then TCP or UDP
	Device  int    // index of the link's device
	Link    *Slot
	Version uint64 // of Link.Changes, from before the flow's remote was looked up

	// Around it.
	Outer   []byte // headers from Ethernet to VXLAN, or to UDP around Bare, as for an empty frame, and with the ECN bits of the frame
	NoCsum  bool   // the UDP checksum is zero
	Csum    bool   // it never is
	MTU     int    // of the path, in bytes of outer IP packet
	IfIndex int    // of the underlay device

	NextHop netip.Addr // by that device; the zero Addr leaves it to the kernel's route

	Ring *Ring // of the link, or nil
}

// Receive is what comes from one station behind a VTEP, or of Bare packets from a
// host.
type Receive struct {
	Kind     Kind
	From, To netip.Addr     // of the outer packet
	Port     uint16         // UDP destination port
	VNI      uint32         // none of Bare
	Source   routetable.MAC // of the inner frame; none of Bare
	Under    int            // index of the device by which it comes in

	Device  int            // index of the link's device
	MAC     routetable.MAC // that frames for it have; none of Bare
	Link    *Slot
	Version uint64 // of Link.Changes, from before a frame was looked at
	Queue   *Slot  // of the socket
}

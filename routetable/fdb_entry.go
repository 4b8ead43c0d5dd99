package routetable

// State says how long an entry lasts and whether what is received may change
// it.
type State uint8

// The states that bridge fdb tells apart.
const (
	Dynamic   State = iota // ages, and follows the station wherever it is heard
	Static                 // stays where it was put
	Permanent              // likewise
)

// String returns what bridge fdb prints for the state: nothing for Dynamic.
func (s State) String() string {
	switch s {
	case Static:
		return "static"
	case Permanent:
		return "permanent"
	}
	return ""
}

// Flags say who answers for an entry, and what for.
type Flags uint8

// The flags that may be given with an entry.
const (
	ExternLearn Flags = 1 << iota // a controller looks after it: does not age
	Router                        // the station is a router

	flagsGiven = ExternLearn | Router

	// byUser marks what came by Add, Append or Replace. It is never shown, but
	// shows: the kernel (6.18) lets ExternLearn change no state or flag of such
	// an entry, and takes an update that only sets or clears the mark for a
	// change that is to be told.
	byUser Flags = 1 << 7
)

// Entry is what the table holds for one MAC, at the time when it was asked.
type Entry struct {
	MAC     MAC
	Remotes []Remote // in the order of their adding; shared, not to be changed
	State   State
	Flags   Flags
	Used    Tick // when a frame was last sent by it, or it was made
	Updated Tick // when a frame was last received from the MAC, or the entry changed
}

// meta is the part of an entry that fits one word: state, flags and, above
// them, the sequence number.
type meta uint64

const (
	metaFlagsShift    = 8
	metaSequenceShift = 16
)

func metaOf(s State, f Flags, sequence uint64) meta {
	return meta(s) | meta(f)<<metaFlagsShift | meta(sequence)<<metaSequenceShift
}

func (m meta) state() State     { return State(m) }
func (m meta) flags() Flags     { return Flags(m >> metaFlagsShift) }
func (m meta) sequence() uint64 { return uint64(m) >> metaSequenceShift }

package injector

// Device is the private interface with its program. Both go with the process.
// Any number of goroutines may write at once.
type Device struct {
	MAC [6]byte // the interface's address, to which frames are written

	handle handle
}

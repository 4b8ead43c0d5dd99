package dataplane

// source is something that packets come from, as a loop serves it, in two
// steps of one bounded batch each.
type source interface {
	// read takes a batch and reports whether there was anything. On Linux it
	// never waits; the portable one does, outside of the loop's lock. After an
	// error the source is not served again.
	read() (busy bool, err error)
	// handle moves what read took to where it goes.
	handle()
	// lost is called once after read has failed.
	lost(err error)
}

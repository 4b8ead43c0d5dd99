package encap

// HasVectors is whether Checksum has a second implementation on this machine.
func HasVectors() bool { return hasVectors() }

// WithVectors runs f while Checksum uses it or does not.
func WithVectors(use bool, f func()) {
	defer func(before bool) { vectors = before }(vectors)
	vectors = use
	f()
}

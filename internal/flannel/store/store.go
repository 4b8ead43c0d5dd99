// Package store is the part of etcd that a flannel network needs, whichever of
// etcd's two interfaces it is reached by.
package store

import (
	"context"
	"errors"
	"time"
)

// Pair is a key with its value.
type Pair struct {
	Key       string
	Value     []byte
	Created   int64         // revision that the key came with
	Revision  int64         // revision of its last change
	Permanent bool          // it does not expire
	TTL       time.Duration // time left when it was read; 0 where TTL has to be asked
	Lease     int64         // of etcd's v3 interface: what the key expires with
}

// Change is a key that was set, or one that was deleted or has expired and has
// no value any more.
type Change struct {
	Pair
	Deleted bool
}

// Snapshot is what stood in the store at one revision.
type Snapshot struct {
	Pairs    []Pair // sorted by key
	Revision int64
}

// A Store is for any number of goroutines. A path that ends in "/" stands for
// all keys below it. A ttl of 0 is for ever.
type Store interface {
	// Read returns what stands at path, which may be nothing.
	Read(ctx context.Context, path string) (Snapshot, error)

	// TTL returns the time that a pair has left, 0 for one that is permanent
	// or gone.
	TTL(ctx context.Context, p Pair) (time.Duration, error)

	// Watch hands on the changes at path that came after the given revision,
	// in their order, with the revision from which a later Watch may go on. It
	// first calls take without changes when it begins to watch. It returns
	// when ctx ends or the connection breaks, and ErrGone when the changes are
	// no longer known.
	Watch(ctx context.Context, path string, after int64, take func(changes []Change, at int64)) error

	// Create sets a key that does not exist, or returns ErrExists. What
	// returns another error may have been carried out.
	Create(ctx context.Context, key string, value []byte, ttl time.Duration) (Pair, error)

	// Replace sets a key whose last change is the given revision, or returns
	// ErrChanged. Created of the pair that it returns is not known.
	Replace(ctx context.Context, key string, value []byte, ttl time.Duration, revision int64) (Pair, error)

	// Delete deletes a key whose last change is the given revision, or returns
	// ErrChanged.
	Delete(ctx context.Context, key string, revision int64) error

	Close() error
}

// What a Store returns beside errors of the connection.
var (
	ErrExists  = errors.New("the key exists already")
	ErrChanged = errors.New("the key was changed or deleted by somebody else")
	ErrGone    = errors.New("the store no longer knows what was changed")
)

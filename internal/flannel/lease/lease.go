package lease

import "time"

// Lease is a record as it stands in etcd.
type Lease struct {
	Subnet
	Record

	Name      string    // its path below subnets/: Key(), unless somebody else wrote it
	Created   int64     // revision that the key came with
	Revision  int64     // revision of its last change
	Permanent bool      // it does not expire: a reservation
	Expires   time.Time // when it will unless renewed; the zero Time where that is not known
}

// Same reports whether a peer has to treat both alike.
func (l Lease) Same(o Lease) bool { return l.Name == o.Name && l.Equal(o.Record) }

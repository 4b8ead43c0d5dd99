package routetable

// ChangeDefault does to the table what changing remote or group of a link
// does: to joins the entry of the all-zero MAC, where frames for unknown,
// broadcast and multicast addresses go, and then from leaves it. Either may be
// nil, or of an unspecified address, which is none. Remotes that were appended by hand stay. A change to the address that
// it was before changes nothing, whatever else differs: the kernel's link (6.18)
// looks at no more than the address.
func (t *FDB) ChangeDefault(from, to *Remote, now Tick) error {
	if !from.none() && !to.none() && from.Addr == to.Addr {
		return nil
	}
	key := keyOf(MAC{})
	s, hash := t.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !to.none() {
		if err := t.applyLocked(s, key, hash, &change{opAppend, MAC{}, *to, Permanent, 0, now}); err != nil {
			return err
		}
	}
	if at := s.entry(key, hash); at != nil && !from.none() {
		t.drop(s, at, false, func(have *Remote) bool { return *have == *from })
		s.shrink(&t.seed)
	}
	return nil
}

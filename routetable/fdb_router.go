package routetable

// IsRouter reports whether the entry of mac, its own one, says that there is a
// router. It takes no lock, and the entry counts as used.
func (t *FDB) IsRouter(mac MAC, now Tick) bool {
	s, rest := t.shardOf(keyOf(mac))
	b := s.table.Load()
	if b == nil {
		return false
	}
	i, found := b.place(rest)
	if !found || b.slots[i].remotes.Load() == nil {
		return false
	}
	t.markUsed(b, i, b.index[i].Load(), now)
	return meta(b.slots[i].meta.Load()).flags()&Router != 0
}

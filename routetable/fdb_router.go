package routetable

// IsRouter reports whether the entry of mac, its own one, says that there is a
// router. It takes no lock, and the entry counts as used.
func (t *FDB) IsRouter(mac MAC, now Tick) bool {
	key := keyOf(mac)
	s, hash := t.shardOf(key)
	found := s.find(key, hash)
	if found == nil || found.remotes.Load() == nil {
		return false
	}
	found.markUsed(now)
	return meta(found.meta.Load()).flags()&Router != 0
}

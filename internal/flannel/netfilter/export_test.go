//go:build linux

package netfilter

// WithoutExtensions has the keeper believe that the kernel's nf_tables knows
// nothing of iptables' extensions.
func (k *Keeper) WithoutExtensions() { k.noCompat = true }

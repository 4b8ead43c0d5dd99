//go:build linux

package netfilter

// WithoutExtensions has the keeper believe that the kernel's nf_tables knows
// nothing of iptables' extensions.
func (k *Keeper) WithoutExtensions() { k.noCompat = true }

// WithoutNFT has it believe that the kernel has no nf_tables.
func (k *Keeper) WithoutNFT() { k.noNFT = true }

//go:build linux

package lab

import (
	"os"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

var (
	lackOfNFTables       = sync.OnceValue(probeNFTables)
	lackOfLegacyIptables = sync.OnceValue(probeLegacyIptables)
)

// NeedNFTables skips the test, and has Main list it, where the kernel has no
// nf_tables.
func NeedNFTables(t TB) { t.Helper(); need(t, lackOfNFTables()) }

// NeedLegacyIptables does so where it has none of iptables-legacy.
func NeedLegacyIptables(t TB) { t.Helper(); need(t, lackOfLegacyIptables()) }

func probeNFTables() *Lack {
	return probe("nf_tables", "CONFIG_NF_TABLES", func(h *Host) error {
		return h.Do(func() error {
			req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
			req.AddRawData([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0})
			_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
			return err
		})
	})
}

func probeLegacyIptables() *Lack {
	lack := probe("iptables-legacy", "CONFIG_IP_NF_FILTER", func(h *Host) error {
		return h.Do(func() error {
			for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
				if _, err := os.Stat("/proc/thread-self/net/" + name); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if lack != nil {
		lack.Remedy = "load the modules as root (modprobe -a iptable_filter iptable_nat ip6table_filter ip6table_nat) or run a kernel built with CONFIG_IP_NF_IPTABLES_LEGACY and CONFIG_IP6_NF_IPTABLES_LEGACY"
	}
	return lack
}

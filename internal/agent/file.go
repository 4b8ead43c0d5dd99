package agent

import (
	"context"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/store"
	"github.com/weftnet/weft/internal/flannel/subnetenv"
)

// writeFile tells the container runtimes. A file that cannot be written is
// tried again by keepFile: the node itself does not need it.
func (n *node) writeFile(context.Context) error {
	n.status.wait(ofStart, "the peers are being read")
	if err := n.tryFile(); err != nil {
		n.status.wait(ofFile, err.Error())
		n.Log.Warn("the container runtimes do not hear of their subnet", zap.Error(err))
	}
	return nil
}

func (n *node) tryFile() error {
	f := subnetenv.File{Network: n.config.IPv4.Network, Subnet: n.lease.IPv4, MTU: n.mtu, IPMasq: n.Masquerade}
	if n.config.IPv6.Enabled() {
		f.IPv6Network, f.IPv6Subnet = n.config.IPv6.Network, n.lease.IPv6
	}
	err := subnetenv.Write(n.SubnetFile, f)
	if err == nil {
		n.status.well(ofFile)
		n.Log.Info("wrote the subnet file", zap.String("path", n.SubnetFile), zap.Int("mtu", n.mtu))
	}
	return err
}

// keepFile ends once the file is written.
func (n *node) keepFile(ctx context.Context) error {
	if !n.status.waits(ofFile) {
		return nil
	}
	err := store.Retry(ctx, store.Backoff{}, func(error) {}, n.tryFile)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

package vxlan

import (
	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend/userlink"
)

// Datapath says who carries the packets.
type Datapath string

// The datapaths.
const (
	Auto   Datapath = "auto"   // the kernel where it has vxlan, else the daemon
	Kernel Datapath = "kernel" // the kernel's own device
	User   Datapath = "user"   // a link of the namespace's daemon
)

// Options are what a node decides by itself.
type Options struct {
	Datapath Datapath // "" = Auto
	Daemon   *userlink.Daemon
	Log      *zap.Logger
}

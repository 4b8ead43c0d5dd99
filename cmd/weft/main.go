// Command weft carries Ethernet frames over UDP in userspace: a VXLAN endpoint
// for hosts whose kernel has none.
package main

import (
	"os"

	"github.com/weftnet/weft/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

//go:build linux

package benchmark

import (
	"fmt"
	"os"
	"strings"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// Crowded are the paths that show whether what a packet costs depends on how
// much there is beside it: entries in the table that it is looked up in, and
// links on the port that it arrives at.
func Crowded() []Path {
	return []Path{
		{Name: "weft-1000-entries", Extra: true, lay: layWeft, crowd: entries(1000)},
		{Name: "weft-100000-entries", Extra: true, lay: layWeft, crowd: entries(100_000)},
		{Name: "weft-64-links", Extra: true, lay: layWeft, crowd: links(64)},
	}
}

// Uncrowded is what they are compared with.
func Uncrowded() Path { return Path{Name: "weft", Ratio: "x_weft", lay: layWeft} }

// entries fills the link's table up to n addresses, which 16 VTEPs have.
func entries(n int) func(*weftLink, *lab.VXLAN) error {
	return func(l *weftLink, _ *lab.VXLAN) error {
		var lines strings.Builder
		for i := range n {
			fmt.Fprintf(&lines, "fdb add 02:cc:00:%02x:%02x:%02x dev %s dst 10.213.0.%d\n", byte(i>>16), byte(i>>8), byte(i), l.name, i%16+1)
		}
		return l.batch(lines.String())
	}
}

// links makes the link one of n on its port.
func links(n int) func(*weftLink, *lab.VXLAN) error {
	return func(l *weftLink, v *lab.VXLAN) error {
		var lines strings.Builder
		for i := 1; i < n; i++ {
			beside := *v
			beside.Name, beside.ID = fmt.Sprintf("%s.%d", v.Name, i), v.ID+uint32(i)*1000
			lines.WriteString(strings.Join(vtep.Command(&beside), " ") + "\n")
		}
		return l.batch(lines.String())
	}
}

// batch has weft carry out lines.
func (l *weftLink) batch(lines string) error {
	file, err := os.CreateTemp(lab.RunDir(), "batch")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	if _, err := file.WriteString(lines); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	_, err = l.weft.Must("-batch", file.Name())
	return err
}

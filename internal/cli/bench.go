package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftnet/weft/internal/benchmark"
)

const benchHelp = `Measure weft on this machine, beside the kernel's vxlan where there is one and
beside the plain wire, in network namespaces that nothing else sees and that
are gone afterwards. As root, or as any user where users may make namespaces;
it takes about a minute, in which the machine should have nothing else to do.

Figures in parentheses are ratios to the kernel's vxlan, or without it to the
plain wire and to weft without offloads. Paths are measured in turns, three
times each, and medians are shown: two runs agree in ratios, not in figures.`

func (a *app) benchCommand() *cobra.Command {
	var round time.Duration
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine's weft beside its kernel's vxlan",
		Long:  benchHelp,
		Args:  noWords,
		RunE: func(*cobra.Command, []string) error {
			if round <= 0 {
				return usagef("`--round %v` is refused: it is the length of a round, as %v", round, benchmark.ShortRound)
			}
			if err := benchmark.Enter(); err != nil {
				return err
			}
			return a.bench(round)
		},
	}
	cmd.Flags().DurationVar(&round, "round", benchmark.ShortRound, "measure TCP on a path for so long at a time, and the others in proportion")
	return cmd
}

// bench says on standard error what it is at, since it takes its time.
func (a *app) bench(round time.Duration) error {
	report, err := benchmark.Short(round, a.err)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(report)
	}
	_, err = io.WriteString(a.out, report.Tables()+machineLine(report.Machine)+"\n"+wrap(report.Where, textWidth))
	return err
}

// machineLine says what the figures were measured on.
func machineLine(m map[string]string) string {
	return fmt.Sprintf("%s cores of %s, Linux %s, TCP under %s, %s\n", m["cores"], m["cpu"], m["kernel"], m["congestion"], m["date"])
}

// textWidth is that of a paragraph, in characters.
const textWidth = 80

// wrap breaks a paragraph into lines.
func wrap(text string, width int) string {
	var out strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			out.WriteByte('\n')
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	out.WriteByte('\n')
	return out.String()
}

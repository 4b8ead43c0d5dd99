//go:build linux

package benchmark

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weftnet/weft/internal/benchmark/result"
	"github.com/weftnet/weft/internal/lab"
)

// ShortRound makes a short run take about a minute.
const ShortRound = 300 * time.Millisecond

// shortTurns makes medians of three.
const shortTurns = 3

// Enter takes the program into namespaces of its own, by running it again in
// them: it returns only there, or with an error that says what is missing.
func Enter() error {
	if err := lab.Enter(); err != nil {
		return err
	}
	if lack := lab.LackOfTUN(); lack != nil {
		return lack
	}
	return nil
}

// Report is what a short run found.
type Report struct {
	Machine map[string]string `json:"machine"`
	Results []result.Result   `json:"results"`
	Where   string            `json:"where"` // the time goes
}

// Short runs a short version of the benchmarks: fewer works, and all paths of a
// mode side by side, so that the references are measured once. It wants to be
// in the namespaces that Enter makes. What it is at goes to progress.
func Short(round time.Duration, progress io.Writer) (*Report, error) {
	var file result.File
	var where explanation
	for _, mode := range Modes() {
		measured, err := shortMode(mode, round, progress)
		if err != nil {
			return nil, fmt.Errorf("mode %s: %w", mode.Name, err)
		}
		for _, c := range measured {
			file.Results = append(file.Results, c.results(mode)...)
		}
		where.add(mode, measured)
	}
	r := &Report{Machine: map[string]string{}, Results: file.Results, Where: where.text()}
	for _, s := range Machine() {
		r.Machine[s.Key] = s.Value
	}
	return r, nil
}

// shortMode measures all works of the short version in a mode.
func shortMode(mode Mode, round time.Duration, progress io.Writer) (measured []*Comparison, err error) {
	bed, err := NewBed(mode)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	references, others, err := bed.layShort()
	if err != nil {
		return nil, err
	}
	for _, work := range Works() {
		if work.Extra {
			continue
		}
		fmt.Fprintf(progress, "measuring %s, %s\n", work.Name(), mode.Name)
		c := Compare(work, round, references, others...)
		for range shortTurns {
			if err := c.Turn(); err != nil {
				return nil, err
			}
		}
		measured = append(measured, c)
	}
	return measured, nil
}

// layShort lays the paths of the short version.
func (b *Bed) layShort() (references, others []*Way, err error) {
	for _, p := range References() {
		w, err := b.Lay(p)
		if err != nil {
			return nil, nil, err
		}
		references = append(references, w)
	}
	laid := len(b.ways)
	for _, p := range Available() {
		if p.Extra {
			continue
		}
		if _, err := b.Lay(p); err != nil {
			return nil, nil, err
		}
	}
	return references, b.ways[laid:], nil
}

// results are the figures of every path, in the order of the table of paths.
func (c *Comparison) results(m Mode) []result.Result {
	var all []result.Result
	for _, p := range Paths() {
		for i, l := range c.lanes {
			if l.way.Path.Name == p.Name {
				all = append(all, result.Result{Group: c.work.Group, Case: c.work.Case, Mode: m.Name, Path: p.Name, Values: c.Figures(i)})
			}
		}
	}
	return all
}

// Tables are what the run measured, a table for each mode.
func (r *Report) Tables() string {
	f := result.File{Results: r.Results}
	text := ""
	for _, mode := range f.Modes() {
		text += fmt.Sprintf("%s:\n\n%s\n", mode, f.Table(mode))
	}
	return text
}

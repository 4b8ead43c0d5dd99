package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/weftnet/weft/internal/benchmark/result"
)

// Lengths of the chart, in SVG's units.
const (
	width       = 980
	left        = 50 // of the scale
	titleHeight = 40
	plotHeight  = 190
	labelHeight = 44
	panelHeight = titleHeight + plotHeight + labelHeight
	keyHeight   = 26
	barWidth    = 20
	groupGap    = 16
)

// Ratios above the top of the scale are cut off, and their figure stands there.
const top = 2.0

// colour of a path's bars.
type colour struct{ path, colour string }

// section is some panels, one for each mode, with bars of the same paths; others
// have none.
type section struct {
	title   string
	file    *result.File
	to      map[string]string // what ratios are to, by their unit
	colours []colour
}

// sections are those that there are results for.
func sections(f *result.File) []section {
	all := []section{{"", f.Without(containers, crowded, peers), referenceNames, []colour{
		{"weft", "#1f5fa8"},
		{"weft-default-buffer", "#7fb0e0"},
		{"weft-portable", "#b9bec6"},
	}}}
	if through := f.Of(containers); len(through.Results) > 0 {
		all = append(all, section{"container to container through agents, ", through, overlayReferenceNames, []colour{
			{"agents-vxlan-user", "#1f5fa8"},
			{"agents-udp", "#7fb0e0"},
			{"agents-host-gw", "#b9bec6"},
		}})
	}
	return all
}

// chart draws a panel for each mode of each section: in each a group of bars for
// each row that has a ratio, first those of which more is better, then those of
// which less is. Whoever wants the chart in another way draws it from the results.
func chart(f *result.File) string {
	var b strings.Builder
	all, height := sections(f), 0
	for _, s := range all {
		height += keyHeight + len(s.file.Modes())*panelHeight
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#222">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	y := 0
	for _, s := range all {
		s.drawKey(&b, y)
		y += keyHeight
		for _, mode := range s.file.Modes() {
			s.drawPanel(&b, mode, y)
			y += panelHeight
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// drawKey says whose the bars are.
func (s *section) drawKey(b *strings.Builder, y int) {
	x := left
	for _, c := range s.colours {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`, x, y+8, c.colour)
		fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", x+17, y+18, result.Title(c.path))
		x += 160
	}
}

// panel is where a mode is drawn.
type panel struct {
	*strings.Builder
	*section
	base float64 // y of 0
	x    int     // where the next group begins
	unit string  // of the ratios
}

func (s *section) drawPanel(b *strings.Builder, mode string, y int) {
	p := &panel{Builder: b, section: s, base: float64(y + titleHeight + plotHeight), x: left + groupGap, unit: ratioUnit(s.file)}
	title := heading(mode)
	if s.title != "" {
		title = s.title + strings.ToLower(title)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-size="13" font-weight="bold">%s: ratio to %s</text>`+"\n", left, y+14, title, s.to[p.unit])
	p.drawScale()
	for _, more := range []bool{true, false} {
		from := p.x
		for _, row := range result.Rows() {
			if row.Short != "" && row.Better == more && s.file.Measured(row) {
				p.drawGroup(row, mode)
			}
		}
		note := "less is better"
		if more {
			note = "more is better"
		}
		p.text((from+p.x-groupGap)/2, p.base-plotHeight-6, "middle", "#777", note)
		p.x += groupGap
	}
}

var referenceNames = map[string]string{"x_kernel": "the kernel's vxlan device", "x_veth": "the plain wire", "x_portable": "weft without offloads"}

// overlayReferenceNames are the same containers otherwise.
var overlayReferenceNames = map[string]string{"x_kernel": "the kernel's vxlan below the same containers", "x_host-gw": "the same containers without a tunnel"}

// ratioUnit is the first that any result has.
func ratioUnit(f *result.File) string {
	for _, unit := range result.RatioUnits() {
		if f.Has(unit) {
			return unit
		}
	}
	return result.RatioUnits()[0]
}

func (p *panel) y(ratio float64) float64 { return p.base - min(ratio, top)/top*(plotHeight-14) }

// drawScale rules the panel; 1 is the reference itself.
func (p *panel) drawScale() {
	for _, at := range []float64{0, 0.5, 1, 1.5, 2} {
		colour, stroke := "#ddd", 1
		if at == 1 {
			colour, stroke = "#c22", 2
		}
		fmt.Fprintf(p, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="%s" stroke-width="%d"/>`, left, width-10, p.y(at), p.y(at), colour, stroke)
		p.text(left-6, p.y(at)+4, "end", "#555", fmt.Sprintf("%g", at))
	}
}

func (p *panel) drawGroup(row result.Row, mode string) {
	for i, c := range p.colours {
		r, _ := p.file.Find(row, mode, c.path)
		v, ok := r.Values[p.unit+row.Compared]
		if !ok || math.IsNaN(v) {
			continue
		}
		x := p.x + i*barWidth
		fmt.Fprintf(p, `<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="%s"/>`, x, p.y(v), barWidth-2, p.base-p.y(v), c.colour)
		p.text(x+barWidth/2-1, p.y(v)-3, "middle", "#222", shortRatio(v))
	}
	for i, line := range strings.Split(row.Short, "\n") {
		p.text(p.x+barWidth*len(p.colours)/2, p.base+15+float64(13*i), "middle", "#222", line)
	}
	p.x += barWidth*len(p.colours) + groupGap
}

// shortRatio fits above a bar.
func shortRatio(v float64) string {
	switch {
	case v < top:
		return strings.TrimPrefix(fmt.Sprintf("%.2f", v), "0")
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func (p *panel) text(x int, y float64, anchor, colour, text string) {
	fmt.Fprintf(p, `<text x="%d" y="%.1f" text-anchor="%s" font-size="10" fill="%s">%s</text>`+"\n", x, y, anchor, colour, text)
}

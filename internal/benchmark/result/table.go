package result

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Table is the Markdown table of a mode: a line for each row that any path has
// a figure of, a column for each path. Behind a figure are its ratios.
func (f *File) Table(mode string) string {
	paths := f.Paths()
	head := []string{""}
	for _, path := range paths {
		head = append(head, Title(path))
	}
	lines := [][]string{head}
	for _, row := range Rows() {
		line, some := []string{row.Title}, false
		for _, path := range paths {
			cell := f.cell(row, mode, path)
			some = some || cell != ""
			line = append(line, cell)
		}
		if some {
			lines = append(lines, line)
		}
	}
	return Markdown(lines)
}

// Title is what a path is called in a table.
func Title(path string) string {
	if first, rest, ok := strings.Cut(path, "-"); ok {
		return first + ", " + strings.ReplaceAll(rest, "-", " ")
	}
	return path
}

// cell is a figure and, in parentheses, its ratios.
func (f *File) cell(row Row, mode, path string) string {
	r, ok := f.Find(row, mode, path)
	if !ok {
		return ""
	}
	v, ok := r.Values[row.Unit]
	if !ok {
		return ""
	}
	if row.Compared == "-" {
		return Digits(v)
	}
	return Digits(v) + f.ratios(&r, row.Compared)
}

// ratios are those to each path that any result is compared with, in the order
// of RatioUnits; a dash where there is none.
func (f *File) ratios(r *Result, behind string) string {
	var all []string
	some := false
	for _, unit := range RatioUnits() {
		if !f.Has(unit) {
			continue
		}
		if x, ok := r.Values[unit+behind]; ok {
			all = append(all, strconv.FormatFloat(x, 'f', 2, 64))
			some = true
		} else {
			all = append(all, "–")
		}
	}
	if !some {
		return ""
	}
	return " (" + strings.Join(all, "; ") + ")"
}

// Has reports whether any result has a figure of a unit.
func (f *File) Has(unit string) bool {
	return slices.ContainsFunc(f.Results, func(r Result) bool {
		_, ok := r.Values[unit]
		return ok
	})
}

// Digits prints three digits that count, and all of a large number.
func Digits(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// Markdown makes a table of lines of cells, the first of which is the head, and
// lines the columns up, so that the text reads as a table too.
func Markdown(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for i, line := range lines {
		writeLine(&b, line, widths)
		if i == 0 {
			writeRule(&b, widths)
		}
	}
	return b.String()
}

// writeLine puts the first column to the left and figures to the right.
func writeLine(b *strings.Builder, line []string, widths []int) {
	for i, cell := range line {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i == 0 {
			b.WriteString("| " + cell + pad + " ")
		} else {
			b.WriteString("| " + pad + cell + " ")
		}
	}
	b.WriteString("|\n")
}

func writeRule(b *strings.Builder, widths []int) {
	for i, w := range widths {
		b.WriteString("|" + strings.Repeat("-", w+1))
		if i == 0 {
			b.WriteString("-")
		} else {
			b.WriteString(":")
		}
	}
	b.WriteString("|\n")
}

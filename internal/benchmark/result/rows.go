package result

import "slices"

// Row is one figure of every path, as a table shows it.
type Row struct {
	Title       string
	Short       string // for a chart, a line break in it; "" = not in a chart
	Group, Case string
	Unit        string
	Compared    string // what is behind the unit of the ratio, "" or "_cpu"; "-" if there is none
	Better      bool   // more is better
}

// Rows are what tables show, in their order.
func Rows() []Row {
	return []Row{
		{"TCP, 1 stream, Gbit/s", "TCP\n1 stream", "TCP", "streams=1", "Gbit/s", "", true},
		{"TCP, 4 streams", "TCP\n4 streams", "TCP", "streams=4", "Gbit/s", "", true},
		{"TCP, 8 streams", "TCP\n8 streams", "TCP", "streams=8", "Gbit/s", "", true},
		{"TCP, 4 + 4 streams, both ways", "TCP 4 + 4\nboth ways", "TCPBothWays", "streams=4+4", "Gbit/s", "", true},
		{"– their fairness (Jain)", "", "TCPBothWays", "streams=4+4", "jain", "-", true},
		{"UDP 64 B, received under overload, kpps", "UDP 64 B\noverload", "UDPOverload", "size=64", "kpps", "", true},
		{"– lost, %", "", "UDPOverload", "size=64", "loss-%", "-", false},
		{"UDP 64 B, highest rate without loss", "UDP 64 B\nno loss", "UDPLossless", "size=64", "kpps", "", true},
		{"UDP 1300 B, received under overload", "UDP 1300 B\noverload", "UDPOverload", "size=1300", "kpps", "", true},
		{"– lost, %", "", "UDPOverload", "size=1300", "loss-%", "-", false},
		{"UDP 1300 B, highest rate without loss", "UDP 1300 B\nno loss", "UDPLossless", "size=1300", "kpps", "", true},
		{"Round trip, median, µs", "round trip\nmedian", "RoundTrip", "size=64", "µs-p50", "", false},
		{"Round trip, 99th percentile", "", "RoundTrip", "size=64", "µs-p99", "-", false},
		{"CPU seconds per GB, TCP, 1 stream", "CPU per GB\n1 stream", "TCP", "streams=1", "cpu-s/GB", "_cpu", false},
		{"CPU seconds per GB, TCP, 8 streams", "CPU per GB\n8 streams", "TCP", "streams=8", "cpu-s/GB", "_cpu", false},
		{"Packets per system call, TCP, 1 stream", "", "TCP", "streams=1", "pkt/syscall", "-", true},
		{"Packets per system call, UDP 64 B", "", "UDPOverload", "size=64", "pkt/syscall", "-", true},
	}
}

// RatioUnits are the units of ratios to other paths, the one that tells most
// first.
func RatioUnits() []string {
	return []string{"x_kernel", "x_veth", "x_portable", "x_host-gw", "x_link", "x_weft", "x_peer"}
}

// Find looks up the result of a row on a path in a mode.
func (f *File) Find(row Row, mode, path string) (Result, bool) {
	for _, r := range f.Results {
		if r.Group == row.Group && r.Case == row.Case && r.Mode == mode && r.Path == path {
			return r, true
		}
	}
	return Result{}, false
}

// Measured reports whether any path has a result of a row.
func (f *File) Measured(row Row) bool {
	return slices.ContainsFunc(f.Results, func(r Result) bool { return r.Group == row.Group && r.Case == row.Case })
}

// Modes and Paths are those of a file's results, in the order in which they
// come; what has none is left out.
func (f *File) Modes() []string { return f.distinct(func(r *Result) string { return r.Mode }) }

// Paths is described at Modes.
func (f *File) Paths() []string { return f.distinct(func(r *Result) string { return r.Path }) }

func (f *File) distinct(of func(*Result) string) []string {
	var all []string
	seen := map[string]bool{"": true}
	for i := range f.Results {
		if v := of(&f.Results[i]); !seen[v] {
			seen[v] = true
			all = append(all, v)
		}
	}
	return all
}

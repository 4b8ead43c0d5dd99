package dataplane

import "fmt"

// kernelVersion is a Linux version: 6.8.5 is {6, 8, 5}.
type kernelVersion [3]int

// parseKernelVersion reads the numbers at the beginning of what uname -r
// prints: 6.8.0-31-generic, 6.6.44, 5.15.167.4-microsoft-standard-WSL2, 7.0-rc1.
func parseKernelVersion(release string) (v kernelVersion, ok bool) {
	n, _ := fmt.Sscanf(release, "%d.%d.%d", &v[0], &v[1], &v[2])
	return v, n >= 2
}

func (v kernelVersion) before(other kernelVersion) bool {
	for i := range v {
		if v[i] != other[i] {
			return v[i] < other[i]
		}
	}
	return false
}

// brokenKernels are versions in which an offload does damage that nobody can
// see when it happens. What the kernel refuses with an error needs no entry:
// it is noticed and switched off then. Distributions carry fixes back without
// saying so in the version; who knows that theirs does sets
// WEFT_OFFLOAD_ANYWAY.
var brokenKernels = []struct {
	offload       Offloads
	since, before kernelVersion
	what          string
}{
	{
		// Only what is written to the device is at risk, but the device gives
		// and takes by one switch.
		DevUSO, kernelVersion{6, 2, 0}, kernelVersion{6, 8, 5},
		"UDP super-frames from a TAP vanish where their next hop is a tunnel device, fixed in 6.8.5",
	},
	{
		UDPGSO, kernelVersion{7, 0, 0}, kernelVersion{7, 1, 5},
		"UDP_SEGMENT sends headers and checksums that are wrong on some network cards (b10b446, fixed by 78effd8 and 5f17ae0)",
	},
}

// brokenOffloads says which offloads must not be used on a kernel.
func brokenOffloads(release string) refusals {
	r := refusals{}
	v, ok := parseKernelVersion(release)
	if !ok {
		return r // not Linux, or nothing to go by
	}
	for _, b := range brokenKernels {
		if !v.before(b.since) && v.before(b.before) {
			r.refuse(b.offload, "Linux "+release+": "+b.what)
		}
	}
	return r
}

package dataplane

import "testing"

func TestParseKernelVersion(t *testing.T) {
	for release, want := range map[string]kernelVersion{
		"6.8.0-31-generic":                   {6, 8, 0},
		"6.6.44":                             {6, 6, 44},
		"7.0-rc1":                            {7, 0, 0},
		"5.15.167.4-microsoft-standard-WSL2": {5, 15, 167},
		"6.1.0-44-cloud-amd64":               {6, 1, 0},
		"4.4.0":                              {4, 4, 0}, // gVisor
	} {
		if got, ok := parseKernelVersion(release); !ok || got != want {
			t.Errorf("%s: %v, %v; want %v", release, got, ok, want)
		}
	}
	for _, release := range []string{"", "6", "linux", "-1", "v6.8.5", "..", "6.x"} {
		if v, ok := parseKernelVersion(release); ok {
			t.Errorf("%q is taken for %v", release, v)
		}
	}
}

func TestBrokenOffloads(t *testing.T) {
	for release, want := range map[string]Offloads{
		"6.1.0-44-cloud-amd64": 0, // has no such super-frames
		"6.2.0":                DevUSO,
		"6.8.4-060804-generic": DevUSO,
		"6.8.5":                0,
		"6.18.44":              0,
		"7.0.0":                UDPGSO,
		"7.1.4":                UDPGSO,
		"7.1.5":                0,
		"unknown":              0,
	} {
		broken := brokenOffloads(release)
		for _, o := range offloadNames {
			if got := broken.has(o.offload); got != (want&o.offload != 0) {
				t.Errorf("%s: %s is refused: %v (%s)", release, o.name, got, broken[o.offload])
			}
		}
	}
}

func TestParseOffloads(t *testing.T) {
	for text, want := range map[string]Offloads{
		"": 0, "dev_gso": DevGSO, "tunnel_gso": TunnelGSO, "udp_gro,udp_gso": UDPGRO | UDPGSO, " dev_uso , udp_gro ": DevUSO | UDPGRO,
	} {
		if got, err := ParseOffloads(text); err != nil || got != want {
			t.Errorf("%q: %b, %v; want %b", text, got, err, want)
		}
	}
	if _, err := ParseOffloads("dev_gso,tso"); err == nil {
		t.Error("an unknown name is taken")
	}
}

package lease

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/weftnet/weft/routetable"
)

var (
	v4  = netip.MustParseAddr("10.0.0.5")
	v6  = netip.MustParseAddr("fd00::5")
	mac = routetable.MAC{0xc6, 0xd2, 0x32, 0x6f, 0x8f, 0x44}
)

// As flannel v0.15 and later write them.
var written15 = map[string]Record{
	`{"PublicIP":"10.0.0.5","PublicIPv6":null}`: {PublicIP: v4},
	`{"PublicIP":"10.0.0.5","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}`: {
		PublicIP: v4, BackendType: "vxlan", BackendData: VXLAN{1, mac}.Encode(),
	},
	`{"PublicIP":"10.0.0.5","PublicIPv6":"fd00::5","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},"BackendV6Data":{"VNI":16777215,"VtepMAC":"00:00:00:00:00:01"}}`: {
		PublicIP: v4, PublicIPv6: v6, BackendType: "vxlan", BackendData: VXLAN{1, mac}.Encode(),
		BackendV6Data: VXLAN{1<<24 - 1, routetable.MAC{5: 1}}.Encode(),
	},
	`{"PublicIP":"10.0.0.5","PublicIPv6":null,"BackendType":"host-gw"}`: {PublicIP: v4, BackendType: "host-gw"},
	`{"PublicIP":"10.0.0.5","PublicIPv6":"fd00::5","BackendType":"host-gw"}`: {
		PublicIP: v4, PublicIPv6: v6, BackendType: "host-gw",
	},
	`{"PublicIP":"10.0.0.5","PublicIPv6":null,"BackendType":"extension","BackendData":"what it \u0026 printed\n"}`: {
		PublicIP: v4, BackendType: "extension", BackendData: json.RawMessage(`"what it \u0026 printed\n"`),
	},
}

func TestRecordBytes(t *testing.T) {
	for want, r := range written15 {
		got, err := r.Encode()
		if err != nil || string(got) != want {
			t.Errorf("%+v:\n%s %v\nwant\n%s", r, got, err, want)
		}
		if back, err := ParseRecord([]byte(want)); err != nil || !back.Equal(r) {
			t.Errorf("%s: %+v %v", want, back, err)
		}
	}
	if _, err := (Record{PublicIP: v4, BackendData: json.RawMessage("{")}).Encode(); err == nil {
		t.Error("data that is no JSON is written")
	}
}

func TestParseOldRecords(t *testing.T) {
	for value, want := range map[string]Record{
		`{"PublicIP":"10.0.0.5"}`: {PublicIP: v4},
		`{"PublicIP":"10.0.0.5","BackendType":"vxlan","BackendData":{"VtepMAC":"c6:d2:32:6f:8f:44"}}`: {
			PublicIP: v4, BackendType: "vxlan", BackendData: json.RawMessage(`{"VtepMAC":"c6:d2:32:6f:8f:44"}`),
		},
		` {"publicip": "10.0.0.5", "Zone": {"a": [1]}, "BackendData": null} `: {PublicIP: v4},
		`{"PublicIP":"::ffff:10.0.0.5"}`:                                      {PublicIP: v4},
	} {
		if got, err := ParseRecord([]byte(value)); err != nil || !got.Equal(want) {
			t.Errorf("%s: %+v %v", value, got, err)
		}
	}
}

func TestParseRecordRefuses(t *testing.T) {
	for value, want := range map[string]string{
		``: "no lease record", `[]`: "no lease record", `"x"`: "no lease record", `{"PublicIP":7}`: "no lease record",
		`{}`: "no PublicIP", `null`: "no PublicIP", `{"PublicIP":null}`: "no PublicIP",
		`{"PublicIP":"10.0.0"}`: `PublicIP of the lease record is "10.0.0"`, `{"PublicIP":"fd00::5"}`: "no such address",
		`{"PublicIP":"10.0.0.5","PublicIPv6":"10.0.0.6"}`: "PublicIPv6", `{"PublicIP":"10.0.0.5","PublicIPv6":"fe80::1%e"}`: "PublicIPv6",
	} {
		if got, err := ParseRecord([]byte(value)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v %v, want %s", value, got, err, want)
		}
	}
}

func TestParseVXLAN(t *testing.T) {
	for data, want := range map[string]VXLAN{
		`{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}`: {1, mac},
		`{"VtepMAC":"c6:d2:32:6f:8f:44"}`:         {0, mac},
		`{"vtepmac":"C6-D2-32-6F-8F-44","x":1}`:   {0, mac},
	} {
		if got, err := ParseVXLAN(json.RawMessage(data)); err != nil || got != want {
			t.Errorf("%s: %+v %v", data, got, err)
		}
	}
	for _, data := range []string{"", "null", "{}", `{"VtepMAC":7}`, `{"VtepMAC":"c6:d2"}`, `{"VtepMAC":"02:00:00:00:00:00:00:01"}`, `{"VNI":-1}`} {
		if got, err := ParseVXLAN(json.RawMessage(data)); err == nil {
			t.Errorf("%s is taken for %+v", data, got)
		}
	}
}

// What is read can be written, and is then read alike.
func FuzzParseRecord(f *testing.F) {
	for value := range written15 {
		f.Add([]byte(value))
	}
	f.Add([]byte(`{"PublicIP":"10.0.0.5","BackendData":{"a":"<&>"}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := ParseRecord(value)
		if err != nil {
			return
		}
		once, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseRecord(once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if twice, _ := again.Encode(); string(twice) != string(once) {
			t.Fatalf("%s and then %s", once, twice)
		}
		_, _ = ParseVXLAN(r.BackendData)
	})
}

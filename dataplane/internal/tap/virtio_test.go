package tap

import (
	"encoding/binary"
	"testing"

	"github.com/weftnet/weft/encap"
)

// header is a virtio-net header as the kernel writes it.
func header(flags, kind byte, fields ...uint16) []byte {
	b := []byte{flags, kind}
	for _, f := range fields {
		b = binary.NativeEndian.AppendUint16(b, f)
	}
	return b
}

// TestGetGSO: hdr_len counts for nothing, the ECN flag neither.
func TestGetGSO(t *testing.T) {
	csum := encap.GSO{NeedsCsum: true, CsumStart: 34, CsumOffset: 6}
	super := func(kind encap.GSOType) encap.GSO {
		return encap.GSO{Type: kind, Size: 1448, NeedsCsum: true, CsumStart: 34, CsumOffset: 16}
	}
	for name, c := range map[string]struct {
		b    []byte
		want encap.GSO
	}{
		"finished":    {header(0, 0, 0, 0, 0, 0), encap.GSO{}},
		"data valid":  {header(2, 0, 0, 0, 0, 0), encap.GSO{}},
		"checksum":    {header(1, 0, 999, 0, 34, 6), csum},
		"TCP4":        {header(1, 1, 1514, 1448, 34, 16), super(encap.GSOTCP4)},
		"TCP4 + CWR":  {header(1, 0x81, 1514, 1448, 34, 16), super(encap.GSOTCP4)},
		"TCP6":        {header(1, 4, 74, 1448, 34, 16), super(encap.GSOTCP6)},
		"TCP6 + CWR":  {header(1, 0x84, 0, 1448, 34, 16), super(encap.GSOTCP6)},
		"UDP":         {header(1, 5, 42, 1448, 34, 16), super(encap.GSOUDP)},
		"other flags": {header(0xfe, 0, 0, 0, 0, 0), encap.GSO{}},
	} {
		if got := getGSO(append(c.b, 0xff)); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestPutGSO writes over what was there before.
func TestPutGSO(t *testing.T) {
	for _, c := range []struct {
		gso  encap.GSO
		want []byte
	}{
		{encap.GSO{}, header(0, 0, 0, 0, 0, 0)},
		{encap.GSO{NeedsCsum: true, CsumStart: 34, CsumOffset: 6, HeaderLen: 42}, header(1, 0, 42, 0, 34, 6)},
		{encap.GSO{Type: encap.GSOTCP4, Size: 1448, NeedsCsum: true, CsumStart: 34, CsumOffset: 16, HeaderLen: 54}, header(1, 1, 54, 1448, 34, 16)},
		{encap.GSO{Type: encap.GSOTCP6, Size: 1428, NeedsCsum: true, CsumStart: 54, CsumOffset: 16, HeaderLen: 74}, header(1, 4, 74, 1428, 54, 16)},
		{encap.GSO{Type: encap.GSOUDP, Size: 0xffff, NeedsCsum: true, CsumStart: 58, CsumOffset: 6, HeaderLen: 66}, header(1, 5, 66, 0xffff, 58, 6)},
	} {
		b := header(0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff)
		if putGSO(b, &c.gso); string(b) != string(c.want) {
			t.Errorf("%+v: % x, want % x", c.gso, b, c.want)
		}
	}
}

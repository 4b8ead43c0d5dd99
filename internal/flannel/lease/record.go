package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
)

// Record is the value of a lease: where its node is reached, and by what means.
type Record struct {
	PublicIP      netip.Addr
	PublicIPv6    netip.Addr      // the zero Addr for none
	BackendType   string          // "" for udp and alloc
	BackendData   json.RawMessage // what the backend tells its peers, nil for nothing
	BackendV6Data json.RawMessage
}

// written holds flannel's names in flannel's order. PublicIPv6 is always
// there, as null where the node has none.
type written struct {
	PublicIP      text
	PublicIPv6    *text
	BackendType   string          `json:",omitempty"`
	BackendData   json.RawMessage `json:",omitempty"`
	BackendV6Data json.RawMessage `json:",omitempty"`
}

// text is an address. The one of netip would take "" for no address.
type text string

// Encode returns the record as flannel writes it. BackendData and
// BackendV6Data have to be JSON.
func (r Record) Encode() ([]byte, error) {
	w := written{
		PublicIP:      text(r.PublicIP.String()),
		BackendType:   r.BackendType,
		BackendData:   r.BackendData,
		BackendV6Data: r.BackendV6Data,
	}
	if r.PublicIPv6.IsValid() {
		v6 := text(r.PublicIPv6.String())
		w.PublicIPv6 = &v6
	}
	value, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("write the lease record of %v: %w", r.PublicIP, err)
	}
	return value, nil
}

// ParseRecord reads a record of any version of flannel: without PublicIPv6
// (before v0.15), and with members that are not known.
func ParseRecord(value []byte) (Record, error) {
	var w written
	if err := json.Unmarshal(value, &w); err != nil {
		return Record{}, fmt.Errorf("the value is no lease record: %w", err)
	}
	if w.PublicIP == "" {
		return Record{}, errors.New("the lease record has no PublicIP")
	}
	public, err := w.PublicIP.addr("PublicIP", netip.Addr.Is4)
	if err != nil {
		return Record{}, err
	}
	r := Record{
		PublicIP:      public,
		BackendType:   w.BackendType,
		BackendData:   given(w.BackendData),
		BackendV6Data: given(w.BackendV6Data),
	}
	if w.PublicIPv6 != nil {
		r.PublicIPv6, err = w.PublicIPv6.addr("PublicIPv6", netip.Addr.Is6)
	}
	return r, err
}

func (t text) addr(name string, is func(netip.Addr) bool) (netip.Addr, error) {
	a, err := netip.ParseAddr(string(t))
	a = a.Unmap()
	if err != nil || a.Zone() != "" || !is(a) {
		return netip.Addr{}, fmt.Errorf("%s of the lease record is %q, which is no such address", name, string(t))
	}
	return a, nil
}

// given takes null for nothing.
func given(data json.RawMessage) json.RawMessage {
	if string(data) == "null" {
		return nil
	}
	return data
}

// Equal reports whether two records say the same, byte for byte in what the
// backends say.
func (r Record) Equal(o Record) bool {
	return r.PublicIP == o.PublicIP && r.PublicIPv6 == o.PublicIPv6 && r.BackendType == o.BackendType &&
		string(r.BackendData) == string(o.BackendData) && string(r.BackendV6Data) == string(o.BackendV6Data)
}

package dataplane

import "net/netip"

// LinkChange is what `weft link set` may change about a running link, as the
// kernel lets its own device be changed. A nil field is left as it is.
type LinkChange struct {
	Remote    *netip.Addr `json:"remote,omitempty"` // a host or a group; the zero Addr takes it away
	Local     *netip.Addr `json:"local,omitempty"`
	Dev       *string     `json:"dev,omitempty"`
	TTL       *uint8      `json:"ttl,omitempty"`
	TOS       *uint8      `json:"tos,omitempty"`
	TOSCopy   *bool       `json:"tos_inherit,omitempty"`
	DF        *DFMode     `json:"df,omitempty"`
	FlowLabel *uint32     `json:"flow_label,omitempty"`
	Learning  *bool       `json:"learning,omitempty"`
	Ageing    *uint32     `json:"ageing,omitempty"` // seconds; 0 = 300

	AllowSources *[]netip.Prefix `json:"allow_sources,omitempty"` // none = all
}

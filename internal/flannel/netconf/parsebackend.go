package netconf

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weftnet/weft/internal/spelling"
)

// typeKey is in the table of every backend; parseBackend has read it by then.
func typeKey[T any]() key[T] { return key[T]{name: "Type"} }

var (
	udpKeys = keys[UDP]{
		typeKey[UDP](),
		{"Port", whole(0, 65535, func(b *UDP) *uint16 { return &b.Port })},
	}
	vxlanKeys = keys[VXLAN]{
		typeKey[VXLAN](),
		{"VNI", whole(0, 1<<24-1, func(b *VXLAN) *uint32 { return &b.VNI })},
		{"Port", whole(0, 65535, func(b *VXLAN) *uint16 { return &b.Port })},
		{"GBP", truth(func(b *VXLAN) *bool { return &b.GBP })},
		{"Learning", truth(func(b *VXLAN) *bool { return &b.Learning })},
		{"DirectRouting", truth(func(b *VXLAN) *bool { return &b.DirectRouting })},
		{"MTU", whole(0, 65535, func(b *VXLAN) *int { return &b.MTU })},
		{name: "Name"}, {name: "MacPrefix"}, // what Windows nodes read
	}
	hostGWKeys    = keys[HostGW]{typeKey[HostGW]()}
	allocKeys     = keys[Alloc]{typeKey[Alloc]()}
	extensionKeys = keys[Extension]{
		typeKey[Extension](),
		{"PreStartupCommand", words(func(b *Extension) *string { return &b.PreStartup })},
		{"PostStartupCommand", words(func(b *Extension) *string { return &b.PostStartup })},
		{"SubnetAddCommand", words(func(b *Extension) *string { return &b.SubnetAdd })},
		{"SubnetRemoveCommand", words(func(b *Extension) *string { return &b.SubnetRemove })},
	}
)

// backends makes each backend from the members of its object.
var backends = map[string]func([]member) (Backend, []string, error){
	TypeUDP:       func(m []member) (Backend, []string, error) { return build(udpKeys, m, &UDP{}) },
	TypeVXLAN:     func(m []member) (Backend, []string, error) { return build(vxlanKeys, m, &VXLAN{VNI: 1}) },
	TypeHostGW:    func(m []member) (Backend, []string, error) { return build(hostGWKeys, m, &HostGW{}) },
	TypeAlloc:     func(m []member) (Backend, []string, error) { return build(allocKeys, m, &Alloc{}) },
	TypeExtension: func(m []member) (Backend, []string, error) { return build(extensionKeys, m, &Extension{}) },
}

func build[T any, B interface {
	*T
	Backend
}](ks keys[T], members []member, b B) (Backend, []string, error) {
	unexpected, err := ks.read(members, b)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", b.Type(), err)
	}
	return b, unexpected, nil
}

// parseBackend reads the object under Backend. Without one flannel takes udp.
func parseBackend(text []byte) (b Backend, unexpected []string, err error) {
	var members []member
	name := TypeUDP
	if text != nil {
		if members, err = object(text); err != nil {
			return nil, nil, err
		}
		if name, err = typeOf(members); err != nil {
			return nil, nil, err
		}
	}
	parse, ok := backends[name]
	if !ok {
		return nil, nil, notServed(name)
	}
	if b, unexpected, err = parse(members); err == nil {
		setPort(b)
	}
	return b, unexpected, err
}

func typeOf(members []member) (string, error) {
	var name string
	read := words(func(name *string) *string { return name })
	for _, m := range members {
		if !strings.EqualFold(m.name, "Type") {
			continue
		}
		if err := read(&name, m.value); err != nil {
			return "", fmt.Errorf("Type: %w", err)
		}
	}
	if name == "" {
		return "", fmt.Errorf("no Type: it is one of %s; udp is taken only where there is no Backend at all", served())
	}
	return strings.ToLower(name), nil
}

// setPort gives port 0, which stands for none in the config, its meaning.
func setPort(b Backend) {
	switch b := b.(type) {
	case *UDP:
		if b.Port == 0 {
			b.Port = DefaultUDPPort
		}
	case *VXLAN:
		if b.Port == 0 {
			b.Port = DefaultVXLANPort
		}
	}
}

func served() string { return strings.Join(slices.Sorted(maps.Keys(backends)), ", ") }

// Backends of flannel that need a cloud's own interface, and those that need
// what this program does not have.
var (
	clouds    = []string{"ali-vpc", "aws-vpc", "gce", "tencent-vpc"}
	elsewhere = []string{"ipip", "ipsec", "wireguard"}
)

func notServed(name string) error {
	if slices.Contains(clouds, name) {
		return fmt.Errorf("Type %s is not served: use Type extension, whose SubnetAddCommand and SubnetRemoveCommand "+
			"call the cloud's own tool to set and delete its routes", name)
	}
	if slices.Contains(elsewhere, name) {
		return fmt.Errorf("Type %s is one of flannel's that is not served here; served are %s", name, served())
	}
	if near := spelling.Nearest(name, slices.Collect(maps.Keys(backends))); near != "" {
		return fmt.Errorf("unknown Type %q; did you mean %q? Served are %s", name, near, served())
	}
	return fmt.Errorf("unknown Type %q; served are %s", name, served())
}

package subnetenv

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

var (
	v4   = File{Network: pfx("10.42.0.0/16"), Subnet: pfx("10.42.0.0/24"), MTU: 1450, IPMasq: true}
	dual = File{
		Network: pfx("10.42.0.0/16"), Subnet: pfx("10.42.7.0/24"),
		IPv6Network: pfx("2001:cafe:42::/56"), IPv6Subnet: pfx("2001:cafe:42:1::/64"), MTU: 1472,
	}
)

const (
	v4Text   = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	dualText = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.7.1/24\n" +
		"FLANNEL_IPV6_NETWORK=2001:cafe:42::/56\nFLANNEL_IPV6_SUBNET=2001:cafe:42:1::1/64\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n"
)

func TestText(t *testing.T) {
	for text, f := range map[string]File{v4Text: v4, dualText: dual} {
		if got := string(f.Encode()); got != text {
			t.Errorf("%+v:\n%s\nwant\n%s", f, got, text)
		}
		if got := Parse([]byte(text)); got != f {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestParseByHand(t *testing.T) {
	for text, want := range map[string]File{
		"": {},
		"junk\n=\n#FLANNEL_SUBNET=10.1.0.1/24\nFLANNEL_SUBNET\n":        {},
		"FLANNEL_SUBNET=nothing\nFLANNEL_MTU=x\nFLANNEL_IPMASQ=perhaps": {},
		"FLANNEL_SUBNET=172.7.21.1/24":                                  {Subnet: pfx("172.7.21.0/24")},
		"FLANNEL_SUBNET=172.7.21.1/24\r\nFLANNEL_MTU=1500\r\n":          {Subnet: pfx("172.7.21.0/24"), MTU: 1500},
		" export FLANNEL_SUBNET = \"172.7.21.1/24\" # mine":             {Subnet: pfx("172.7.21.0/24")},
		"FLANNEL_SUBNET='172.7.21.1/24'":                                {Subnet: pfx("172.7.21.0/24")},
		"FLANNEL_SUBNET=172.7.21.1/24 # mine":                           {Subnet: pfx("172.7.21.0/24")},
		"FLANNEL_SUBNET=x,172.7.21.1/24":                                {Subnet: pfx("172.7.21.0/24")},
		"FLANNEL_SUBNET=172.7.21.1/24,172.7.22.1/24":                    {},
		"OTHER=1\nFLANNEL_NETWORK=172.7.0.0/16\nFLANNEL_IPMASQ=true":    {Network: pfx("172.7.0.0/16"), IPMasq: true},
	} {
		if got := Parse([]byte(text)); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestWriteAndRead(t *testing.T) {
	umask := syscall.Umask(0o077)
	defer syscall.Umask(umask)
	path := filepath.Join(t.TempDir(), "run", "flannel", "subnet.env")
	if f, err := Read(path); f != (File{}) || err != nil {
		t.Error(f, err)
	}
	if err := Write(path, v4); err != nil {
		t.Fatal(err)
	}
	hasMode(t, path, 0o644)
	if text, err := os.ReadFile(path); string(text) != v4Text || err != nil {
		t.Errorf("%s %v", text, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, dual); err != nil {
		t.Fatal(err)
	}
	hasMode(t, path, 0o640)
	if f, err := Read(path); f != dual || err != nil {
		t.Error(f, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Error(left)
	}
}

func hasMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
		t.Errorf("%v %v, want %v", info.Mode(), err, want)
	}
}

// Who reads while it is written sees one file or the other.
func TestWriteAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "subnet.env")
	if err := Write(path, v4); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		for i := range 500 {
			f := v4
			if i%2 == 0 {
				f = dual
			}
			if err := Write(path, f); err != nil {
				done <- err
				return
			}
		}
		close(done)
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
			if text, err := os.ReadFile(path); err != nil || string(text) != v4Text && string(text) != dualText {
				t.Fatalf("%q %v", text, err)
			}
		}
	}
}

func TestWriteFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(file, "subnet.env"), v4); err == nil || !strings.HasPrefix(err.Error(), "write the subnet file: ") {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := Write(dir, v4); err == nil {
		t.Error("a folder is replaced")
	}
	if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) != 2 { // that of file and dir
		t.Error(left)
	}
	if _, err := Read(dir); err == nil {
		t.Error("a folder is read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(v4Text)
	f.Add(dualText)
	f.Fuzz(func(t *testing.T, text string) {
		got := Parse([]byte(text))
		if !got.Subnet.IsValid() || got.Subnet.IsSingleIP() || got.IPv6Subnet.IsSingleIP() || !got.Network.IsValid() || got.IPv6Subnet.IsValid() != got.IPv6Network.IsValid() {
			return
		}
		if again := Parse(got.Encode()); again != got {
			t.Fatalf("%q: %+v is written %q and read %+v", text, got, got.Encode(), again)
		}
	})
}

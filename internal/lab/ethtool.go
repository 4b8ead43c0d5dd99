//go:build linux

package lab

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes of linux/ethtool.h: a feature name, and the 32 features of a block as
// they are read {available, requested, active, never changed} and set {valid,
// requested}.
const (
	featureNameLen = 32
	readBlockLen   = 16
	setBlockLen    = 8
	activeOffset   = 8

	ethSSFeatures = 4 // the string set that holds the names of features
)

// featureNames maps each feature's name to its bit, in the calling thread's
// namespace.
func featureNames(dev string) (map[string]int, error) {
	count, err := featureCount(dev)
	if err != nil {
		return nil, err
	}
	// struct ethtool_gstrings: command, string set, length, names.
	req := words(unix.ETHTOOL_GSTRINGS, ethSSFeatures, count)
	req = append(req, make([]byte, int(count)*featureNameLen)...)
	if err := ethtool(dev, req); err != nil {
		return nil, err
	}
	names := make(map[string]int, count)
	for bit := range int(count) {
		name := req[12+bit*featureNameLen:][:featureNameLen]
		names[unix.ByteSliceToString(name)] = bit
	}
	return names, nil
}

func featureCount(dev string) (uint32, error) {
	// struct ethtool_sset_info: command, reserved, 64-bit mask, one count.
	req := words(unix.ETHTOOL_GSSET_INFO, 0)
	req = binary.NativeEndian.AppendUint64(req, 1<<ethSSFeatures)
	req = append(req, words(0)...)
	err := ethtool(dev, req)
	return binary.NativeEndian.Uint32(req[16:]), err
}

// readFeatures reads which features are active.
func readFeatures(dev string) (Offloads, error) {
	names, err := featureNames(dev)
	if err != nil {
		return nil, err
	}
	blocks := (len(names) + 31) / 32
	req := append(words(unix.ETHTOOL_GFEATURES, uint32(blocks)), make([]byte, blocks*readBlockLen)...)
	if err := ethtool(dev, req); err != nil {
		return nil, err
	}
	features := make(Offloads, len(names))
	for name, bit := range names {
		active := binary.NativeEndian.Uint32(req[8+bit/32*readBlockLen+activeOffset:])
		features[name] = active&(1<<(bit%32)) != 0
	}
	return features, nil
}

// changeFeatures asks for features all at once. The kernel may decline some
// without an error.
func changeFeatures(dev string, want Offloads) error {
	names, err := featureNames(dev)
	if err != nil {
		return err
	}
	blocks := (len(names) + 31) / 32
	req := append(words(unix.ETHTOOL_SFEATURES, uint32(blocks)), make([]byte, blocks*setBlockLen)...)
	for name, on := range want {
		bit, known := names[name]
		if !known {
			return fmt.Errorf("device %s: this kernel has no feature %q", dev, name)
		}
		block := req[8+bit/32*setBlockLen:]
		setBit(block[:4], bit%32)
		if on {
			setBit(block[4:8], bit%32)
		}
	}
	return ethtool(dev, req)
}

func setBit(word []byte, bit int) {
	binary.NativeEndian.PutUint32(word, binary.NativeEndian.Uint32(word)|1<<bit)
}

func words(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// ethtool makes one SIOCETHTOOL call; the kernel answers into req.
func ethtool(dev string, req []byte) error {
	if len(dev) >= unix.IFNAMSIZ {
		return fmt.Errorf("device name %q is longer than %d bytes", dev, unix.IFNAMSIZ-1)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket for ethtool: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	// struct ifreq; its union is never longer than the 24 bytes here.
	ifr := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24]byte
	}{data: unsafe.Pointer(&req[0])}
	copy(ifr.name[:], dev)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr)))
	runtime.KeepAlive(req)
	if errno != 0 {
		return fmt.Errorf("ethtool on %s: %w", dev, errno)
	}
	return nil
}

//go:build !portable

package underlay

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// features knows what the features of network devices are called, which is the
// same for all devices of a kernel: the bit of each name. It is filled when it
// is needed first.
type features map[string]int

// Sizes of linux/ethtool.h: a name, and a block of 32 features as it is read
// {available, requested, active, never changed}.
const (
	featureNameLen = 32
	featureBlock   = 16
	featureActive  = 8
	ethSSFeatures  = 4 // the string set that the names are in
)

// want returns an error that names the first of some features that is off on a
// device.
func (f *features) want(fd int, dev string, names ...string) error {
	if err := f.read(fd, dev); err != nil {
		return err
	}
	blocks := (len(*f) + 31) / 32
	answer := append(words(unix.ETHTOOL_GFEATURES, uint32(blocks)), make([]byte, blocks*featureBlock)...)
	if err := ethtool(fd, dev, answer); err != nil {
		return err
	}
	for _, name := range names {
		bit, known := (*f)[name]
		if !known || binary.NativeEndian.Uint32(answer[8+bit/32*featureBlock+featureActive:])&(1<<(bit%32)) == 0 {
			return fmt.Errorf("%s has %s off", dev, name)
		}
	}
	return nil
}

// read fills in the names.
func (f *features) read(fd int, dev string) error {
	if *f != nil {
		return nil
	}
	// struct ethtool_sset_info: command, reserved, 64-bit mask, one count.
	count := words(unix.ETHTOOL_GSSET_INFO, 0)
	count = binary.NativeEndian.AppendUint64(count, 1<<ethSSFeatures)
	count = append(count, words(0)...)
	if err := ethtool(fd, dev, count); err != nil {
		return err
	}
	n := binary.NativeEndian.Uint32(count[16:])
	// struct ethtool_gstrings: command, string set, length, names.
	all := append(words(unix.ETHTOOL_GSTRINGS, ethSSFeatures, n), make([]byte, n*featureNameLen)...)
	if err := ethtool(fd, dev, all); err != nil {
		return err
	}
	*f = make(features, n)
	for bit := range int(n) {
		(*f)[unix.ByteSliceToString(all[12+bit*featureNameLen:][:featureNameLen])] = bit
	}
	return nil
}

func words(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// ethtool makes one SIOCETHTOOL call; the kernel answers into request.
func ethtool(fd int, dev string, request []byte) error {
	// struct ifreq; its union is never longer than the 24 bytes here.
	ifr := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24]byte
	}{data: unsafe.Pointer(&request[0])}
	copy(ifr.name[:unix.IFNAMSIZ-1], dev)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr)))
	runtime.KeepAlive(request)
	if errno != 0 {
		return fmt.Errorf("%s cannot be asked for its offloads: %w", dev, errno)
	}
	return nil
}

//go:build linux

package lab

import (
	"bytes"
	"encoding/binary"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Frame is one frame as the device saw it. Over a veth with offloads on that
// may be a super-frame far above the MTU, with its checksums unfinished.
type Frame struct {
	Time            time.Time
	Outgoing        bool
	Length          int    // on the wire; Data may hold less of it
	Data            []byte // from the first header; an 802.1Q tag is back in place
	ChecksumPartial bool   // the transport checksum holds only the pseudo-header's sum
	NoLink          bool   // Data begins with the IP header: the device is a TUN
}

// newFrame copies a frame out of the receive buffer and completes it from its
// control messages.
func newFrame(data []byte, length int, oob []byte, from unix.Sockaddr) Frame {
	f := Frame{Time: time.Now(), Length: length, Data: bytes.Clone(data)}
	if ll, ok := from.(*unix.SockaddrLinklayer); ok {
		f.Outgoing = ll.Pkttype == unix.PACKET_OUTGOING
	}
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS:
			f.Time = timestamp(m.Data)
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA:
			f.applyAuxdata(m.Data)
		}
	}
	return f
}

// timestamp reads a struct timespec, whose fields are 32 bits wide on 32-bit
// machines.
func timestamp(b []byte) time.Time {
	switch len(b) {
	case 16:
		return time.Unix(int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:])))
	case 8:
		return time.Unix(int64(binary.NativeEndian.Uint32(b)), int64(binary.NativeEndian.Uint32(b[4:])))
	}
	return time.Now()
}

// Where an Ethernet header ends its addresses and a VLAN tag goes.
const vlanOffset = 12

// applyAuxdata puts back the VLAN tag that the kernel keeps beside the frame,
// and notes an unfinished checksum.
func (f *Frame) applyAuxdata(b []byte) {
	if len(b) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
		return
	}
	aux := *(*unix.TpacketAuxdata)(unsafe.Pointer(&b[0]))
	f.ChecksumPartial = aux.Status&unix.TP_STATUS_CSUMNOTREADY != 0
	if aux.Status&unix.TP_STATUS_VLAN_VALID == 0 || len(f.Data) < vlanOffset {
		return
	}
	tpid := uint16(unix.ETH_P_8021Q)
	if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = aux.Vlan_tpid
	}
	tagged := bytes.Clone(f.Data[:vlanOffset])
	tagged = binary.BigEndian.AppendUint16(tagged, tpid)
	tagged = binary.BigEndian.AppendUint16(tagged, aux.Vlan_tci)
	f.Data = append(tagged, f.Data[vlanOffset:]...)
	f.Length += 4
}

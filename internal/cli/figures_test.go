package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weftnet/weft/dataplane"
)

func stats() dataplane.Stats {
	s := dataplane.Stats{Name: "vx0", RxPackets: 1, RxBytes: 84, TxPackets: 12345678, TxBytes: 1234567890123, Drops: map[string]uint64{}}
	for r := dataplane.ShortHeader; r <= dataplane.SocketFull; r++ {
		s.Drops[r.String()] = 0
	}
	return s
}

// Figures stand under their titles, however long they are.
func TestFiguresLineUp(t *testing.T) {
	s := stats()
	s.Drops["ecn"], s.Drops["socket_full"], s.Drops["no_route"] = 2, 3, 4
	var out bytes.Buffer
	writeFigures(&out, figuresOf(&s))
	want := `
    RX:  bytes packets errors dropped  missed   mcast
            84       1      2       0       3       0
    TX:         bytes  packets errors dropped carrier collsns
        1234567890123 12345678      4       0       4       0
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}

// Every drop is in one of ip's figures, so that none can pass unseen.
func TestEveryDropIsInTheFigures(t *testing.T) {
	for reason := range stats().Drops {
		s := stats()
		s.Drops[reason] = 1
		f := figuresOf(&s)
		if sum := f.RX.Errors + f.RX.Dropped + f.RX.Missed + f.TX.Errors + f.TX.Dropped; sum != 1 {
			t.Errorf("%s is in %d figures, want 1", reason, sum)
		}
	}
}

func TestStatsForPeopleLeaveOutZeroDrops(t *testing.T) {
	s := stats()
	s.Drops["unknown_vni"] = 7
	s.Offload.UDPGSO = 8
	var out bytes.Buffer
	writeStats(&out, s)
	text := out.String()
	for _, want := range []string{"vx0:\n", "rx_bytes                               84\n", "drops unknown_vni                       7\n", "offload udp_gso                         8\n", "syscalls dev_read                       0\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Count(text, "drops") != 1 {
		t.Errorf("drops that never were are in\n%s", text)
	}
}

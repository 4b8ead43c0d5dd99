package conformance

import (
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// What bridge fdb is refused, and what it is not though one might think so. A
// refusal of the kernel's is an errno, which bridge prints, and ends with a
// status that is not 0; weft says the same in front of what to do.

// outcome is what becomes of one command: "" if it is carried out, or what the
// kernel's device says.
type outcome struct{ command, refusal string }

// try runs commands in turn.
func (a *alone) try(t *testing.T, all []outcome) {
	t.Helper()
	for _, o := range all {
		err := a.tryFDB(t, strings.Fields(o.command)...)
		switch {
		case o.refusal != "":
			wantRefused(t, "fdb "+o.command, err, o.refusal)
			if a.kind == user { // weft says 1 where bridge says 255
				wantRefused(t, "fdb "+o.command, err, "status 1: ")
			}
		case err != nil:
			t.Errorf("fdb %s: %v", o.command, err)
		}
	}
}

// What is said of errno.
const (
	exists      = "file exists"
	noEntry     = "no such file or directory"
	noSpace     = "no space left on device"
	invalid     = "invalid argument"
	noFamily    = "address family not supported by protocol"
	unsupported = "operation not supported"
	notUnicast  = "cannot replace non-unicast fdb entries"
)

// Outcomes of each verb, in a table that then holds what it should.
func TestFDBOutcomes(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		a := newAlone(t, k, v6, nil)
		one, two, foreign := a.other(t, 0), a.other(t, 1), "2001:db8::1"
		if v6 {
			foreign = "192.0.2.1"
		}
		a.try(t, []outcome{
			{"add " + macA + " dst " + one, ""},
			{"add " + macA + " dst " + one, exists},
			{"add " + macA + " dst " + two + " dynamic", exists},
			{"add " + macB, invalid}, // no dst
			{"replace " + macB, invalid},
			{"append " + zeroMAC, invalid},
			{"add " + macB + " dst " + foreign, noFamily},
			{"append " + zeroMAC + " dst " + foreign, noFamily},
			{"replace " + macA + " dst " + foreign, noFamily},

			{"replace " + zeroMAC + " dst " + one, unsupported},
			{"replace " + macGroup + " dst " + one, unsupported},
			{"append " + zeroMAC + " dst " + one, ""},
			{"append " + zeroMAC + " dst " + one, ""},
			{"add " + zeroMAC + " dst " + two, exists},
			{"append " + zeroMAC + " dst " + two, ""},
			{"add " + macGroup + " dst " + one, ""},
			{"replace " + zeroMAC + " dst " + two, notUnicast},
			{"replace " + macGroup + " dst " + two, notUnicast},
			{"replace " + macB + " dst " + two + " static", ""},
			{"append " + macB + " dst " + one + " static", ""}, // and stays where it is

			{"del " + macC, noEntry},
			{"del " + macC + " dst " + one, noEntry},
			{"del " + macA + " dst " + two, ""},
			{"del " + macA + " dst " + foreign, ""},
			{"del " + macA + " dst " + one + " port 4790", ""},
			{"del " + macA + " dst " + one + " vni 6", ""},
		})
		want := []string{
			macB + " dst " + two + " self static", macGroup + " dst " + one + " self permanent",
			zeroMAC + " dst " + one + " self permanent", zeroMAC + " dst " + two + " self permanent", macA + " dst " + one + " self permanent",
		}
		if got := a.table(t); !slices.Equal(got, want) {
			t.Errorf("the table has\n%q, want\n%q", got, want)
		}
		a.try(t, []outcome{
			{"del " + macA + " dst " + one, ""}, {"del " + macA, noEntry},
			{"del " + zeroMAC, ""}, {"del " + macGroup + " dst " + one, ""}, {"del " + macB, ""}, {"del " + macB, noEntry},
		})
		a.wantEmpty(t)
	})
}

func (a *alone) wantEmpty(t *testing.T) {
	t.Helper()
	if got := a.table(t); len(got) > 0 {
		t.Errorf("the table has %q, want nothing", got)
	}
}

// `via` must be a device. Which one not, is bridge's message.
func TestFDBOutcomeVia(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		a := newAlone(t, k, false, nil)
		one := a.other(t, 0)
		missing := "Cannot find device"
		if k == kernel {
			missing = "not found" // the lab's own words
		}
		a.try(t, []outcome{{"add " + macA + " dst " + one + " via nosuch0", missing}})
		a.wantEmpty(t)
		a.try(t, []outcome{{"add " + macA + " dst " + one + " via eth0 port 4790 vni 77", ""}})
		a.awaitEntry(t, macA, macA+" dst "+one+" port 4790 vni 77 via eth0 self permanent")
	})
}

// maxaddress counts addresses, and the default entry as one, but not remotes.
// What cannot be learnt any more is delivered.
func TestFDBOutcomeFull(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		a := newAlone(t, k, v6, func(s *spec) { s.MaxAddress = 3 })
		one, two := a.other(t, 0), a.other(t, 1)
		arrived := newTally(t, a.Host, a.dev)
		from := func(source string) func(lab.Frame) bool {
			return func(f lab.Frame) bool { return slices.Equal(f.Data[6:12], mac(source)) }
		}
		a.set(t, "remote", one)
		a.try(t, []outcome{
			{"add " + macA + " dst " + one, ""},
			{"append " + zeroMAC + " dst " + two, ""},
			{"append " + macGroup + " dst " + one, ""},
			{"append " + macGroup + " dst " + two, ""},
			{"add " + macB + " dst " + one, noSpace},
			{"replace " + macB + " dst " + one, noSpace},
			{"append " + macB + " dst " + one, noSpace},
			{"replace " + macA + " dst " + two, ""},
		})
		a.deliverFrom(t, one, macC)
		arrived.await(t, 1, from(macC))
		a.awaitEntry(t, macC)
		a.try(t, []outcome{{"del " + macGroup + " dst " + one, ""}, {"add " + macB + " dst " + one, noSpace}, {"del " + macGroup + " dst " + two, ""}})
		a.deliverFrom(t, one, macC)
		arrived.await(t, 2, from(macC))
		a.awaitEntry(t, macC, macC+" dst "+one+" self ")
		a.try(t, []outcome{{"add " + macB + " dst " + one, noSpace}})
	})
}

// A full table does not take a remote either.
func TestFDBOutcomeFullRemote(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		a := newAlone(t, k, false, func(s *spec) { s.MaxAddress = 1 })
		one := a.other(t, 0)
		a.fdb(t, "add", macA, "dst", one)
		wantRefused(t, "link set remote", a.trySet(t, "remote", one), noSpace)
		a.awaitEntry(t, zeroMAC)
		a.fdb(t, "del", macA)
		a.set(t, "remote", one)
		a.awaitEntry(t, zeroMAC, zeroMAC+" dst "+one+" self permanent")
	})
}

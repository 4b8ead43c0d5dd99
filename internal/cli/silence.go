package cli

import (
	"time"

	"github.com/weftnet/weft/internal/control"
)

// silence calls a function when a daemon that is to answer says nothing for
// queryTimeout.
type silence struct{ timer *time.Timer }

func newSilence(broken func()) silence { return silence{time.AfterFunc(queryTimeout, broken)} }

func (s silence) start() { s.timer.Reset(queryTimeout) }
func (s silence) stop()  { s.timer.Stop() }

// refusal is the error of one of several responses, of which only the last
// says that all is well.
func refusal(resp control.Response) error {
	if resp.More && resp.Error == "" {
		return nil
	}
	return outcome(resp, nil)
}

package device

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// How often what was programmed is held against what is there although nothing
// was heard, and how soon after a failure at first.
const (
	lookInterval = 10 * time.Second
	firstRetry   = time.Second
)

// Keeper has a backend look after what it made.
type Keeper struct {
	Log    *zap.Logger
	Signs  <-chan struct{} // somebody touched a device
	Failed <-chan struct{} // something could not be done elsewhere
	Check  func(context.Context) error

	trouble string        // what the last check failed for
	pause   time.Duration // until the next one
}

// Run checks at every sign, after each interval, and after a failure sooner,
// until ctx ends. A failure is logged when it comes, when it becomes another
// one, and when it is over.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		err := k.Check(ctx)
		if ctx.Err() != nil {
			return nil
		}
		k.judge(err)
		wait := time.NewTimer(k.pause)
		select {
		case <-ctx.Done():
		case <-k.Signs:
		case <-k.Failed:
			wait.Reset(firstRetry)
			select {
			case <-ctx.Done():
			case <-k.Signs:
			case <-wait.C:
			}
		case <-wait.C:
		}
		wait.Stop()
	}
}

func (k *Keeper) judge(err error) {
	if err == nil {
		if k.trouble != "" {
			k.Log.Info("all is programmed again")
		}
		k.trouble, k.pause = "", lookInterval
		return
	}
	if text := err.Error(); text != k.trouble {
		k.Log.Warn("not all could be programmed: trying again", zap.Error(err))
		k.trouble, k.pause = text, 0
	}
	k.pause = min(max(firstRetry, 2*k.pause), lookInterval)
}

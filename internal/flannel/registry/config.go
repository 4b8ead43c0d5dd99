package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/store"
)

// ConfigError is the trouble of a config that is missing or cannot be used. What
// else FollowConfig tells of is the store's.
type ConfigError struct{ Err error }

// Error says what a person has to do.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the config.
func (e *ConfigError) Unwrap() error { return e.Err }

// FollowConfig tells take of the config now and whenever it changes, until ctx
// ends, whose error it returns. Instead of a config take gets what is wrong:
// there is none, it cannot be used, or the store does not answer. Of the same
// trouble it hears once.
func (r *Registry) FollowConfig(ctx context.Context, take func(*netconf.Config, error)) error {
	w := &configFollowing{registry: r, take: take}
	for {
		err := w.step(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errLookAgain) {
			continue
		}
		if !errors.Is(err, store.ErrGone) {
			w.lost(err)
		}
		if err := w.backoff.Wait(ctx); err != nil {
			return err
		}
	}
}

// AwaitConfig returns the config as soon as there is one that can be used, and
// tells report what is wrong until then.
func (r *Registry) AwaitConfig(ctx context.Context, report func(error)) (cfg *netconf.Config, err error) {
	within, found := context.WithCancel(ctx)
	defer found()
	err = r.FollowConfig(within, func(c *netconf.Config, err error) {
		switch {
		case cfg != nil:
		case err != nil:
			report(err)
		default:
			cfg = c
			found()
		}
	})
	if cfg != nil {
		return cfg, nil
	}
	return nil, err
}

type configFollowing struct {
	registry *Registry
	take     func(*netconf.Config, error)
	told     bool   // of a config, which was
	text     string // this
	said     string // the kind of trouble that was told last, "" for none
	backoff  store.Backoff
}

func (w *configFollowing) step(ctx context.Context) error {
	r := w.registry
	read, err := r.store.Read(ctx, r.config)
	if err != nil {
		return err
	}
	within, stop := ctx, func() {}
	if len(read.Pairs) == 0 {
		if w.missing(ctx); r.other != nil && w.said == nowhere {
			within, stop = cancelAfter(ctx, r.other.again)
		}
	} else {
		w.found(read.Pairs[0].Value)
	}
	defer stop()
	err = r.store.Watch(within, r.config, read.Revision, func(changes []store.Change, _ int64) {
		w.backoff.Reset()
		for _, c := range changes {
			if c.Deleted {
				w.missing(ctx)
			} else {
				w.found(c.Value)
			}
		}
	})
	if within.Err() != nil {
		return errLookAgain
	}
	return err
}

// cancelAfter is a timeout of which etcd is not told: it may find sooner that the time is
// over, and say that it did not carry out the request.
func cancelAfter(ctx context.Context, limit time.Duration) (within context.Context, stop func()) {
	within, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(limit, cancel)
	return within, func() { timer.Stop(); cancel() }
}

// errLookAgain says that a config may have been written where changes are not heard
// of, while none was here.
var errLookAgain = errors.New("time to look again")

func (w *configFollowing) found(text []byte) {
	cfg, err := netconf.Parse(text)
	if err != nil {
		w.trouble(string(text), &ConfigError{fmt.Errorf("the config at %s cannot be used: %w", w.registry.config, err)})
		return
	}
	if w.told && w.said == "" && w.text == string(text) {
		return
	}
	w.told, w.text, w.said = true, string(text), ""
	w.take(cfg, nil)
}

const (
	nowhere       = "nothing"
	elsewhere     = "the other API" // where the config is
	ofStore       = "the store"
	ofCertificate = "a certificate" // of the store's or for it; what else the store says is no news then
)

func (w *configFollowing) lost(err error) {
	switch {
	case store.Certificate(err):
		w.trouble(ofCertificate, err)
	case w.said != ofCertificate:
		w.trouble(ofStore, err)
	}
}

func (w *configFollowing) missing(ctx context.Context) {
	kind, err := w.registry.noConfig(ctx)
	w.trouble(kind, &ConfigError{err})
}

// trouble tells of err unless the last that was told is of the same kind: what
// the store says when it is away differs from try to try.
func (w *configFollowing) trouble(kind string, err error) {
	if w.said != kind {
		w.said = kind
		w.take(nil, err)
	}
}

// noConfig says where the config was looked for, and where it is instead.
func (r *Registry) noConfig(ctx context.Context) (kind string, err error) {
	err = fmt.Errorf("there is no config at %s", r.config)
	if r.other != nil && r.other.has(ctx, r.config) {
		return elsewhere, fmt.Errorf("%w in the %s API of etcd, but there is one in the %s API, which %s reads",
			err, r.other.mine, r.other.name, r.other.flag)
	}
	return nowhere, fmt.Errorf("%w; write one there, such as {\"Network\":\"10.42.0.0/16\"}, or name another place with --etcd-prefix", err)
}

package store

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var b Backoff
	for range 2 {
		for _, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000} {
			if got := b.Next(); got != want*time.Millisecond {
				t.Errorf("%v, want %d ms", got, want)
			}
		}
		b.Reset()
	}
	b = Backoff{Min: time.Second, Max: time.Minute}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if got := b.Next(); got != want*time.Second {
			t.Errorf("%v, want %d s", got, want)
		}
	}
	for range 1000 {
		if d := spread(time.Second); d < time.Second/2 || d > time.Second {
			t.Fatal(d)
		}
	}
}

func TestBackoffEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := Backoff{Min: time.Hour, Max: time.Hour}
	if err := b.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRetry(t *testing.T) {
	var tried, reported int
	err := Retry(context.Background(), Backoff{Min: 1, Max: 1}, func(error) { reported++ }, func() error {
		if tried++; tried < 4 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || tried != 4 || reported != 3 {
		t.Error(err, tried, reported)
	}
}

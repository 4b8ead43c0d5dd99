package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLockIsForOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.lock")
	first, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	first.sign()
	if _, err := takeLock(path); !errors.Is(err, errHeld) {
		t.Errorf("second: %v, want %v", err, errHeld)
	}
	if got := holder(path); got != strconv.Itoa(os.Getpid()) {
		t.Errorf("holder %q, want this process", got)
	}
	first.release(path)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("file is left after release: %v", err)
	}
	if got := holder(path); got != "unknown" {
		t.Errorf("holder %q of a lock that nobody holds", got)
	}
}

// A file that its last owner has unlinked is no lock any more, even though
// flock gives it to whoever has it open.
func TestUnlinkedFileIsNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.lock")
	var inside, taken atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				l, err := takeLock(path)
				if err != nil {
					continue
				}
				taken.Add(1)
				if inside.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				for range 20 { // stay for as long as the others need to come in
					holder(path)
				}
				inside.Add(-1)
				l.release(path)
			}
		})
	}
	wg.Wait()
	if taken.Load() == 0 {
		t.Error("nobody got the lock")
	}
}

// Replacing the file must not let its present owner remove the new one.
func TestReleaseRemovesItsOwnFileOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.lock")
	old, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	old.release(path)
	if _, err := takeLock(path); !errors.Is(err, errHeld) {
		t.Errorf("after the release of a former lock: %v, want %v", err, errHeld)
	}
	next.release(path)
}

func TestAwaitLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.lock")
	first, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*pollInterval)
	defer cancel()
	if _, err := awaitLock(ctx, path); !errors.Is(err, errHeld) {
		t.Errorf("while it is held: %v, want %v", err, errHeld)
	}
	got := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		l, err := awaitLock(ctx, path)
		if err == nil {
			l.release(path)
		}
		got <- err
	}()
	first.release(path)
	if err := <-got; err != nil {
		t.Errorf("after its release: %v", err)
	}
}

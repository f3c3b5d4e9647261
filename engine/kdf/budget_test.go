package kdf

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/engine/fault"
)

// TestBudgetBounds runs many computations of different sizes and looks at every moment how many run and what they hold.
func TestBudgetBounds(t *testing.T) {
	const memory, calls = 100, 3
	b := newBudget(memory, calls)
	var held, running, ran atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			n := int64(i % 100)
			release, err := b.acquire(t.Context(), n, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			if h, r := held.Add(n), running.Add(1); h > memory || r > calls {
				t.Errorf("%d at once hold %d", r, h)
			}
			time.Sleep(time.Millisecond)
			held.Add(-n)
			running.Add(-1)
			ran.Add(1)
			release()
		})
	}
	wg.Wait()
	if ran.Load() != 200 {
		t.Errorf("%d of 200 had their turn", ran.Load())
	}
	// Everything was given back.
	for range calls {
		if _, err := b.acquire(t.Context(), memory/calls, time.Millisecond); err != nil {
			t.Error(err)
		}
	}
}

func TestBudgetRefuses(t *testing.T) {
	b := newBudget(100, 2)
	release, err := b.acquire(t.Context(), 60, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, try := range map[string]func() error{
		"memory":  func() error { _, err := b.acquire(t.Context(), 50, 10*time.Millisecond); return err },
		"context": func() error { _, err := b.acquire(ended, 50, time.Minute); return err },
	} {
		err := try()
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != fault.Unavailable || !e.Kind.Retryable() || e.Detail == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Who needs no memory does not queue for it.
	waiting := make(chan error)
	go func() { _, err := b.acquire(t.Context(), 50, 200*time.Millisecond); waiting <- err }()
	time.Sleep(20 * time.Millisecond)
	if none, err := b.acquire(t.Context(), 0, 10*time.Millisecond); err != nil {
		t.Errorf("a computation without memory: %v", err)
	} else {
		// Both places are taken now.
		if _, err := b.acquire(t.Context(), 0, 10*time.Millisecond); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a third computation: %v", err)
		}
		none()
	}
	release()
	if err := <-waiting; err != nil {
		t.Errorf("the one in the queue: %v", err)
	}
}

// TestBudgetGivesBack: who waited in vain for a place holds no memory.
func TestBudgetGivesBack(t *testing.T) {
	b := newBudget(100, 1)
	release, err := b.acquire(t.Context(), 10, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.acquire(t.Context(), 90, 10*time.Millisecond); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("a second computation: %v", err)
	}
	release()
	if _, err := b.acquire(t.Context(), 100, 10*time.Millisecond); err != nil {
		t.Errorf("all of the memory: %v", err)
	}
}

func TestSetBudget(t *testing.T) {
	before := shared.Load()
	defer shared.Store(before)
	if SetBudget(DefaultMemoryBytes-1, 1) == nil || SetBudget(DefaultMemoryBytes, 0) == nil || shared.Load() != before {
		t.Error("a budget into which nothing fits was set")
	}
	if err := SetBudget(DefaultMemoryBytes, 1); err != nil {
		t.Fatal(err)
	}
	release, err := Acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Acquire(ctx, 0); !errors.Is(err, fault.Unavailable) {
		t.Errorf("the second of one: %v", err)
	}
	release()
}

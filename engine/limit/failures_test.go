package limit

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// waits is what waitAfter must say, written out: seconds after so many failures in a row.
var waits = []int{1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300}

func TestFailuresWaits(t *testing.T) {
	f, now := NewFailures[string](10), start
	for failures, seconds := range waits {
		if retry, ok := f.Check("k", now); !ok {
			t.Fatalf("after %d failures: refused for %v at its time", failures, retry)
		}
		wait := time.Duration(seconds) * time.Second
		if retry, ok := f.Check("k", now); ok || retry != wait {
			t.Fatalf("after %d failures: %v, %v; want a wait of %v", failures, retry, ok, wait)
		}
		now = now.Add(100 * time.Millisecond) // the try itself takes time
		f.Failed("k", now)
		now = now.Add(time.Duration(waits[min(failures+1, len(waits)-1)]) * time.Second)
		if retry, ok := f.Check("k", now.Add(-time.Nanosecond)); ok || retry != time.Nanosecond {
			t.Fatalf("after %d failures: %v, %v a nanosecond early", failures+1, retry, ok)
		}
		if retry, ok := f.Check("other", now); !ok && failures == 0 {
			t.Fatalf("another key has to wait for %v", retry)
		}
	}
}

// fail makes a key fail so often, and returns the time of the last failure.
func fail(f *Failures[string], key string, times int, now time.Time) time.Time {
	for i := range times {
		if i > 0 {
			now = now.Add(MaxWait)
		}
		f.Check(key, now)
		f.Failed(key, now)
	}
	return now
}

func TestFailuresForgets(t *testing.T) {
	tests := []struct {
		name string
		do   func(f *Failures[string], now time.Time) time.Time
		want time.Duration // of the wait after a Check
	}{
		{"nothing", func(_ *Failures[string], now time.Time) time.Time { return now }, time.Second},
		{"not before its time", func(f *Failures[string], now time.Time) time.Time {
			return fail(f, "k", 7, now).Add(Forget - time.Nanosecond)
		}, 8 * time.Second},
		{"after its time", func(f *Failures[string], now time.Time) time.Time { return fail(f, "k", 7, now).Add(Forget) }, time.Second},
		{"by success", func(f *Failures[string], now time.Time) time.Time {
			now = fail(f, "k", 7, now)
			f.Succeeded("k")
			return now.Add(time.Second)
		}, time.Second},
		{"not by another's success", func(f *Failures[string], now time.Time) time.Time {
			now = fail(f, "k", 7, now)
			f.Succeeded("other")
			return now.Add(8 * time.Second)
		}, 8 * time.Second},
		{"not by refused checks", func(f *Failures[string], now time.Time) time.Time {
			now = fail(f, "k", 7, now)
			f.Check("k", now.Add(time.Second))
			return now.Add(Forget)
		}, time.Second},
		{"not by a clock set back", func(f *Failures[string], now time.Time) time.Time {
			now = fail(f, "k", 7, now).Add(-24 * time.Hour)
			f.Check("k", now)
			return now.Add(8 * time.Second)
		}, 8 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := NewFailures[string](10)
			now := tt.do(f, start)
			if retry, ok := f.Check("k", now); !ok {
				t.Fatalf("refused for %v", retry)
			}
			if retry, _ := f.Check("k", now); retry != tt.want {
				t.Errorf("a wait of %v, want %v", retry, tt.want)
			}
		})
	}
}

func TestSuccessKeepsTheRate(t *testing.T) {
	f := NewFailures[string](10)
	f.Check("k", start)
	f.Succeeded("k")
	if retry, ok := f.Check("k", start); ok || retry != time.Second {
		t.Errorf("%v, %v right after a success", retry, ok)
	}
}

// TestFailuresModel compares with a record of everything that happened to the key.
func TestFailuresModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, now := NewFailures[string](3), start
		var failures int
		var last time.Time // of the last try or failure
		for range rapid.IntRange(1, 80).Draw(t, "calls") {
			limits := []time.Duration{time.Second, time.Minute, 20 * time.Minute}
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(rapid.SampledFrom(limits).Draw(t, "scale"))).Draw(t, "step")))
			if !last.IsZero() && now.Sub(last) >= 15*time.Minute {
				failures = 0
			}
			switch rapid.IntRange(0, 9).Draw(t, "call") {
			case 0:
				f.Succeeded("k")
				failures = 0
			case 1, 2, 3:
				f.Failed("k", now)
				failures, last = failures+1, now
			default:
				want := time.Duration(0)
				if !last.IsZero() {
					wait := time.Duration(waits[min(failures, len(waits)-1)]) * time.Second
					want = max(0, last.Add(wait).Sub(now))
				}
				retry, ok := f.Check("k", now)
				if retry != want || ok != (want == 0) {
					t.Fatalf("%v, %v; want %v with %d failures, the last try %v ago", retry, ok, want, failures, now.Sub(last))
				}
				if ok {
					last = now
				}
			}
		}
	})
}

// TestGuessesInTheLongRun measures what the comment on Failures promises: the best that somebody gets who always fails.
func TestGuessesInTheLongRun(t *testing.T) {
	const days = 10
	best := 0
	for pause := 1; pause <= 20; pause++ { // pauses to be forgotten after so many tries
		f, now, tries := NewFailures[string](10), start, 0
		for now.Sub(start) < days*24*time.Hour {
			retry, ok := f.Check("k", now)
			if !ok {
				now = now.Add(retry)
				continue
			}
			f.Failed("k", now)
			if tries++; tries%pause == 0 {
				now = now.Add(Forget)
			}
		}
		best = max(best, tries)
	}
	if perHour := best / days / 24; perHour < 35 || perHour > 42 {
		t.Errorf("%d guesses an hour; the comment says about 42", perHour)
	}
}

func TestACheckThatIsBehindWaitsForTheClock(t *testing.T) {
	f := NewFailures[string](10)
	f.Check("k", start)
	if retry, ok := f.Check("k", start.Add(-leeway)); ok || retry != TryEvery+leeway {
		t.Errorf("%v, %v; want a wait of %v", retry, ok, TryEvery+leeway)
	}
}

func TestOneOfManyChecksPasses(t *testing.T) {
	f, now := NewFailures[string](1000), start
	for second := range 3 {
		var passed atomic.Int64
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				if _, ok := f.Check("k", now.Add(time.Duration(i)*time.Microsecond)); ok {
					passed.Add(1)
				}
			})
		}
		wg.Wait()
		if n := passed.Load(); n != 1 {
			t.Fatalf("second %d: %d of 1000 passed", second, n)
		}
		now = now.Add(time.Second + time.Millisecond)
	}
}

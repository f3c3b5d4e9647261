package limit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestClock(t *testing.T) {
	tests := []struct {
		name   string
		steps  []time.Duration // of the caller's clock
		want   time.Duration   // on the shard's clock
		behind time.Duration
	}{
		{"forward", []time.Duration{time.Second, time.Minute}, 61 * time.Second, 0},
		{"a race", []time.Duration{time.Minute, -time.Second}, time.Minute, time.Second},
		{"after a race", []time.Duration{time.Minute, -time.Second, 3 * time.Second}, time.Minute + 2*time.Second, 0},
		{"set back", []time.Duration{time.Minute, -time.Hour}, time.Minute, 0},
		{"goes on after it was set back", []time.Duration{time.Minute, -time.Hour, 5 * time.Second}, 65 * time.Second, 0},
		{"there and back", []time.Duration{time.Hour, -time.Hour, time.Second}, time.Hour + time.Second, 0},
		{"set to a far year", []time.Duration{200 * longest, time.Second}, longest + time.Second, 0},
		{"set to a far year and back", []time.Duration{200 * longest, -200 * longest, time.Second}, longest + time.Second, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c clock
			now := start
			c.at(now)
			var got int64
			var behind time.Duration
			for _, step := range tt.steps {
				now = now.Add(step)
				got, behind = c.at(now)
			}
			if time.Duration(got) != tt.want || behind != tt.behind {
				t.Errorf("%v, behind by %v; want %v and %v", time.Duration(got), behind, tt.want, tt.behind)
			}
		})
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		var last, forward int64
		previous, first := time.Time{}, true
		for range rapid.IntRange(1, 40).Draw(t, "calls") {
			now := time.Unix(rapid.Int64().Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
			if rapid.Bool().Draw(t, "near") && !first {
				now = previous.Add(time.Duration(rapid.Int64Range(-3e9, 3e9).Draw(t, "step")))
			}
			if step := now.Sub(previous); !first && step > 0 {
				forward += int64(min(step, longest))
			}
			got, behind := c.at(now)
			if got < last || got > forward {
				t.Fatalf("the clock went from %d to %d; forward steps add up to %d", last, got, forward)
			}
			if behind < 0 || behind > leeway {
				t.Fatalf("behind by %v", behind)
			}
			last, previous, first = got, now, false
		}
	})
}

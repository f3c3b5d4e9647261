package fault

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"testing"
	"time"
)

func TestEveryKindHasItsOwnCode(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]Kind{}
	for _, k := range Kinds() {
		if !form.MatchString(k.Code()) {
			t.Errorf("kind %d has the code %q", k, k.Code())
		}
		if other, ok := seen[k.Code()]; ok {
			t.Errorf("kinds %d and %d share the code %q", other, k, k.Code())
		}
		seen[k.Code()] = k
	}
	if len(seen) != int(kindEnd)-1 {
		t.Errorf("%d codes for %d kinds", len(seen), kindEnd-1)
	}
	if got := Kind(200).Code(); got != "internal" {
		t.Errorf("a kind that does not exist has the code %q", got)
	}
}

func TestKindsAreTargets(t *testing.T) {
	err := fmt.Errorf("outer: %w", Wrap(Forbidden, "op", "detail", io.EOF))
	if !errors.Is(err, Forbidden) || errors.Is(err, NotFound) || !errors.Is(err, io.EOF) {
		t.Fatalf("errors.Is is wrong about %v", err)
	}
}

func TestOf(t *testing.T) {
	cases := []struct {
		name string
		err  error
		want Kind
	}{
		{"nil", nil, Unknown},
		{"foreign", io.EOF, Internal},
		{"error", New(Conflict, "op", ""), Conflict},
		{"outermost wins", Wrap(Unavailable, "a", "", New(Conflict, "b", "")), Unavailable},
		{"wrapped", fmt.Errorf("x: %w", New(TooLarge, "op", "")), TooLarge},
		{"bare kind", fmt.Errorf("x: %w", KeyState), KeyState},
		{"without kind", &Error{Op: "op"}, Internal},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Of(c.err); got != c.want {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestOnlyPassingTroublesAreRetryable(t *testing.T) {
	want := map[Kind]bool{
		RateLimited: true, NotLeader: true, HSMUnavailable: true, AuditUnavailable: true, LedgerUnavailable: true, Unavailable: true,
		StaleReplica: true,
	}
	for _, k := range Kinds() {
		if k.Retryable() != want[k] {
			t.Errorf("%s: retryable %v", k, k.Retryable())
		}
	}
}

func TestRetryAfterOf(t *testing.T) {
	limited := &Error{Kind: RateLimited, RetryAfter: time.Minute}
	for _, c := range []struct {
		err  error
		want time.Duration
	}{
		{nil, 0}, {io.EOF, 0}, {New(RateLimited, "op", ""), 0}, {limited, time.Minute}, {fmt.Errorf("x: %w", limited), time.Minute},
		{Wrap(Unavailable, "op", "", limited), time.Minute},
		{&Error{Kind: RateLimited, RetryAfter: time.Second, Err: limited}, time.Second},
	} {
		if got := RetryAfterOf(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

package client

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestFence: a change tells how long it took until no node honoured what it took away.
func TestFence(t *testing.T) {
	header := ""
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if header != "" {
			w.Header().Set("Fence-Microseconds", header)
		}
		_, _ = io.WriteString(w, "{}")
	})
	for text, want := range map[string]time.Duration{
		"": 0, "2431": 2431 * time.Microsecond, "0": 0, "-5": 0, "two": 0, "99999999999999999999": 0, "9000000000000000000": 0,
	} {
		header = text
		var took time.Duration
		if _, err := c.SuspendVersion(WithFence(t.Context(), &took), "v", ""); err != nil || took != want {
			t.Errorf("%q: %v, %v", text, took, err)
		}
	}
	header = "1000"
	var took time.Duration
	ctx := WithFence(t.Context(), &took)
	for range 2 {
		if _, err := c.SuspendVersion(ctx, "v", ""); err != nil {
			t.Fatal(err)
		}
	}
	if took != 2*time.Millisecond {
		t.Errorf("two changes took %v", took)
	}
	if _, err := c.SuspendVersion(t.Context(), "v", ""); err != nil {
		t.Errorf("nobody asks: %v", err)
	}
}

// TestStaleReplicaIsRepeated: a node that has lost the others did nothing, so even a change may be tried again.
func TestStaleReplicaIsRepeated(t *testing.T) {
	tries := 0
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if tries++; tries == 1 {
			refuse(t, w, 503, "stale-replica", true)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	})
	var problem *Error
	if _, err := c.SuspendVersion(t.Context(), "v", ""); err != nil || tries != 2 || errors.As(err, &problem) {
		t.Errorf("%d tries: %v", tries, err)
	}
}

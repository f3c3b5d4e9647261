package engine_test

import (
	"errors"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// TestRewrapBatchLooksAgain: what changes while a batch is worked on counts for each of its items.
func TestRewrapBatchLooksAgain(t *testing.T) {
	w, l := newFencedWorld(t)
	old := string(w.mustEncrypt("user-pii", "secret", "").Ciphertext)
	rewrap := func() (engine.BatchResult, error) {
		return w.engine.RewrapBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "user-pii", Items: items(old, "no frame", old)})
	}
	l.reset()
	if _, err := rewrap(); err != nil {
		t.Fatal(err)
	}
	last := l.leases // the look after the work

	l.reset()
	rotated := ""
	l.atLease = func(n int) {
		if n == last {
			rotated = w.rotate("user-pii").Version.ID
		}
	}
	out, err := rewrap()
	if err != nil || out.Items[0].KeyID != rotated || out.Items[2].KeyID != rotated || !errors.Is(out.Items[1].Err, fault.DecryptFailed) {
		t.Fatalf("rotated to %s: %+v, %v", rotated, out.Items, err)
	}
	for _, i := range []int{0, 2} {
		if got, err := w.decrypt("user-pii", out.Items[i].Data, ""); err != nil || string(got.Plaintext) != "secret" {
			t.Errorf("item %d: %q, %v", i, got.Plaintext, err)
		}
	}

	l.reset()
	l.atLease = func(n int) {
		if n == last {
			l.caughtUp = 0
		}
	}
	l.edits = &edits{version: func(v *keys.Version) { v.State = keys.Suspended }}
	if out, err := rewrap(); fault.Of(err) == fault.Unknown && (out.Items[0].Err == nil || out.Items[0].Data != nil) {
		t.Errorf("suspended: %+v, %v", out.Items, err)
	}

	l.reset()
	l.atLease = func(n int) {
		if n == last {
			l.caughtUp = 0
		}
	}
	l.edits = &edits{application: func(a *directory.Application) { a.Grants = nil }}
	if out, err := rewrap(); !errors.Is(err, fault.Forbidden) || out.Items != nil {
		t.Errorf("grants taken: %+v, %v", out.Items, err)
	}
}

package engine_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// strictUse is a use of a strict context, and how often it asks the log.
type strictUse struct {
	name string
	asks int
	run  func() error
}

func (w *world) strictUses(t *testing.T) []strictUse {
	t.Helper()
	ctx, e := t.Context(), w.engine
	w.newContext(w.tenant, engine.ContextSpec{Name: "exact", Consistency: directory.Strict})
	app := w.newApplication(w.tenant, "exact", "exact")
	s := subject(app)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := e.CreateKey(ctx, w.owner(), engine.KeySpec{Name: "exact-sign", Context: "exact", Algorithm: string(algs.Ed25519)})
	must(err)
	encrypt := func() (engine.EncryptResult, error) {
		return e.Encrypt(ctx, callOf(s), &engine.EncryptRequest{Context: "exact", Plaintext: []byte("secret")})
	}
	made, err := encrypt()
	must(err)
	frame := string(made.Ciphertext)
	sign := engine.SignRequest{Key: "exact-sign", Message: []byte("m")}
	signed, err := e.Sign(ctx, callOf(s), &sign)
	must(err)
	batch := func(data ...string) *engine.BatchRequest {
		return &engine.BatchRequest{Context: "exact", Items: items(data...)}
	}
	each := func(b engine.BatchResult, err error) error {
		for i := range b.Items {
			err = errors.Join(err, b.Items[i].Err)
		}
		return err
	}
	stream := func(n int, out io.Writer) error {
		return e.EncryptStream(ctx, callOf(s), &engine.StreamRequest{Context: "exact", Length: -1}, bytes.NewReader(make([]byte, n)),
			func(engine.StreamInfo) (io.Writer, error) { return out, nil })
	}
	open := func(data []byte) error {
		return e.DecryptStream(ctx, callOf(s), &engine.StreamRequest{Context: "exact", Length: -1}, bytes.NewReader(data),
			func(engine.StreamInfo) (io.Writer, error) { return io.Discard, nil })
	}
	const long = 70 * 65536 // more than strictSegments
	var short, whole bytes.Buffer
	must(errors.Join(stream(10, &short), stream(long, &whole)))
	return []strictUse{
		{"encrypt", 1, func() error { _, err := encrypt(); return err }},
		{"decrypt", 1, func() error {
			_, err := e.Decrypt(ctx, callOf(s), &engine.DecryptRequest{Context: "exact", Ciphertext: []byte(frame)})
			return err
		}},
		{"encrypt a batch", 1, func() error { return each(e.EncryptBatch(ctx, callOf(s), batch("a", "b", "c"))) }},
		{"decrypt a batch", 1, func() error { return each(e.DecryptBatch(ctx, callOf(s), batch(frame, frame, frame))) }},
		{"rewrap a batch", 1, func() error { return each(e.RewrapBatch(ctx, callOf(s), batch(frame, frame, frame))) }},
		{"rewrap", 2, func() error { // for either half
			_, err := e.Rewrap(ctx, callOf(s), &engine.RewrapRequest{Context: "exact", Ciphertext: []byte(frame)})
			return err
		}},
		{"data key", 1, func() error {
			_, err := e.DataKey(ctx, callOf(s), &engine.DataKeyRequest{Context: "exact"}, true)
			return err
		}},
		{"sign", 1, func() error { _, err := e.Sign(ctx, callOf(s), &sign); return err }},
		{"verify", 1, func() error {
			_, err := e.Verify(ctx, callOf(s), &engine.VerifyRequest{SignRequest: sign, Signature: signed.Signature})
			return err
		}},
		{"encrypt a short stream", 1, func() error { return stream(10, io.Discard) }},
		{"encrypt a long stream", 3, func() error { return stream(long, io.Discard) }},
		{"decrypt a short stream", 1, func() error { return open(short.Bytes()) }},
		{"decrypt a long stream", 3, func() error { return open(whole.Bytes()) }},
	}
}

// TestStrictContexts: in a strict context the log is asked after the work and before the records are looked at, and no clock.
func TestStrictContexts(t *testing.T) {
	w, l := newFencedWorld(t)
	uses := w.strictUses(t)
	w.frozen.Store(time.Now().UnixNano()) // streams ask by time too
	gone := &edits{application: func(r *directory.Application) { r.Status = directory.Disabled }}
	for _, u := range uses {
		t.Run(u.name, func(t *testing.T) {
			defer l.reset()
			l.reset()
			l.alone = true
			if err := u.run(); err != nil {
				t.Fatalf("without a lease: %v", err)
			}
			steps := l.asked()
			asks := len(slices.DeleteFunc(slices.Clone(steps), func(what string) bool { return what != "barrier" }))
			if asks != u.asks || slices.Contains(steps, "expired") {
				t.Errorf("the log was asked %d times, want %d: %v", asks, u.asks, steps)
			}
			if i := lastIndex(steps, "barrier"); !slices.Contains(steps[i:], "epoch") {
				t.Errorf("nothing was looked at after the log was asked: %v", steps)
			}
			l.reset()
			l.atLog, l.edits = true, gone
			if err := u.run(); fault.Of(err) != fault.Unauthenticated {
				t.Errorf("what the log brought does not count: %v", err)
			}
			l.reset()
			l.down = true
			if err := u.run(); !errors.Is(err, fault.StaleReplica) {
				t.Errorf("when the log does not answer: %v", err)
			}
		})
	}
}

// TestConsistencyOfAContext: it is set when the context is made, changed with it, and nothing else is taken for one.
func TestConsistencyOfAContext(t *testing.T) {
	w := newWorld(t)
	owner := w.owner()
	record, err := w.engine.CreateContext(t.Context(), owner, engine.ContextSpec{Name: "exact", Consistency: directory.Strict})
	if err != nil || record.Consistency != directory.Strict {
		t.Fatalf("%+v, %v", record, err)
	}
	detail, err := w.engine.ChangeContext(t.Context(), owner, "exact", engine.ContextChange{})
	if err != nil || detail.Record.Consistency != directory.Leased {
		t.Errorf("%+v, %v", detail.Record, err)
	}
	_, err = w.engine.ChangeContext(t.Context(), owner, "exact", engine.ContextChange{
		Revision: 1, ContextSpec: engine.ContextSpec{Consistency: 2},
	})
	if !errors.Is(err, fault.Malformed) {
		t.Errorf("an unknown consistency: %v", err)
	}
}

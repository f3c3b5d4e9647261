package engine_test

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// admitted counts how many of n calls are admitted, and checks how the others are refused.
func (w *world) admitted(n int, call func(i int) *engine.Call) int {
	w.t.Helper()
	passed := 0
	for i := range n {
		err := w.engine.Admit(call(i), policy.Encrypt)
		var limited *fault.Error
		switch {
		case err == nil:
			passed++
		case !errors.As(err, &limited) || limited.Kind != fault.RateLimited || limited.RetryAfter <= 0:
			w.t.Fatalf("refused with %v", err)
		}
	}
	return passed
}

// stop stands the world's clock still, so that a test knows how much time goes by.
func (w *world) stop() { w.frozen.Store(w.now().UnixNano()) }

// advance moves a clock that stands still.
func (w *world) advance(d time.Duration) { w.frozen.Add(int64(d)) }

func TestLimitsOfAddressesAndSubjects(t *testing.T) {
	w := newWorld(t)
	other := w.newApplication(w.tenant, "other", "user-pii")
	w.stop()
	from := func(app *directory.Application, source string) func(int) *engine.Call {
		return func(int) *engine.Call {
			c := callOf(subject(app))
			c.Source = source
			return c
		}
	}
	mine := from(w.app, "192.0.2.1:1000")
	if n := w.admitted(1000, mine); n != 1000 {
		t.Fatalf("%d of 1000 without limits", n)
	}
	w.setSettings(func(s *directory.Settings) { s.SubjectRate = directory.Rate{PerSecond: 2, Burst: 10} })
	if n := w.admitted(50, mine); n != 10 {
		t.Errorf("%d of 50, want a burst of 10", n)
	}
	if n := w.admitted(50, from(other, "192.0.2.1:1000")); n != 10 {
		t.Errorf("%d of 50 of another application, want 10", n)
	}
	w.advance(3 * time.Second)
	if n := w.admitted(50, mine); n != 6 {
		t.Errorf("%d of 50 after 3 s, want 6", n)
	}
	if got := w.audit.last.Load(); got.Code != fault.RateLimited.Code() {
		t.Errorf("the record is %+v", got)
	}

	w.setSettings(func(s *directory.Settings) {
		s.SubjectRate, s.AddressRate = directory.Rate{}, directory.Rate{PerSecond: 1, Burst: 5}
	})
	port := func(i int) *engine.Call { return from(w.app, "192.0.2.1:"+strconv.Itoa(1000+i))(i) }
	if n := w.admitted(50, port); n != 5 {
		t.Errorf("%d of 50 of one address, want 5", n)
	}
	v6 := func(i int) *engine.Call { return from(w.app, "[2001:db8::"+strconv.Itoa(i+1)+"]:1000")(i) }
	if n := w.admitted(50, v6); n != 5 {
		t.Errorf("%d of 50 of one /64, want 5", n)
	}
	if n := w.admitted(50, func(i int) *engine.Call { return from(w.app, "198.51.100."+strconv.Itoa(i)+":9")(i) }); n != 50 {
		t.Errorf("%d of 50 of as many addresses", n)
	}
}

// TestLimitedCallsDoNotFillTheAuditLog: refusals of one limit are recorded once a second, with how many were not.
func TestLimitedCallsDoNotFillTheAuditLog(t *testing.T) {
	w := newWorld(t)
	w.setSettings(func(s *directory.Settings) { s.SubjectRate = directory.Rate{PerSecond: 1, Burst: 1} })
	w.stop()
	before := w.audit.all.Load()
	w.admitted(1000, func(int) *engine.Call { return w.call() })
	if n := w.audit.all.Load() - before; n != 1 {
		t.Errorf("%d records of 999 refusals in no time, want 1", n)
	}
	w.advance(time.Second)
	w.admitted(2, func(int) *engine.Call { return w.call() })
	if got := w.audit.last.Load(); got.Cause != "limited, 999 times" || got.Resource != "subject" {
		t.Errorf("the record says %q of %q", got.Cause, got.Resource)
	}
}

// TestStrangersDoNotFillTheAuditLog: whoever has no credential is refused as often as he likes, and recorded in bounds.
func TestStrangersDoNotFillTheAuditLog(t *testing.T) {
	w := newWorld(t)
	w.stop()
	refusal := fault.New(fault.Unauthenticated, "test", "no")
	before := w.audit.all.Load()
	for range 10_000 {
		c := &engine.Call{Source: "192.0.2.7:1"}
		// Whoever is refused is told why, whatever others do behind the same address.
		if err := w.engine.Refuse(t.Context(), c, policy.Encrypt, "", refusal); !errors.Is(err, fault.Unauthenticated) {
			t.Fatal(err)
		}
	}
	if n := w.audit.all.Load() - before; n > 201 {
		t.Errorf("%d records", n)
	}
	c := &engine.Call{Source: "192.0.2.8:1"}
	if err := w.engine.Refuse(t.Context(), c, policy.Encrypt, "", refusal); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("another address: %v", err)
	}
}

// TestLimitOfAContext: every use of a key in a context counts, and items of batches one by one.
func TestLimitOfAContext(t *testing.T) {
	w := newWorld(t)
	useCases := w.useCases(t, subject(w.app))
	w.setSettings(func(s *directory.Settings) { s.ContextRate = directory.Rate{PerSecond: 1, Burst: 10} })
	w.stop()
	for range 10 {
		if _, err := w.encrypt("user-pii", "p", ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range useCases {
		_, err := u.run()
		if keyless := u.free || u.name == "read a key"; errors.Is(err, fault.RateLimited) == keyless {
			t.Errorf("%s in a context that has had its share: %v", u.name, err)
		}
	}
	if _, err := w.encrypt("payment-data", "p", ""); err != nil {
		t.Errorf("another context: %v", err)
	}
	w.advance(5 * time.Second)
	out, err := w.engine.EncryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "user-pii", Items: items("a", "b", "c", "d", "e", "f")})
	if !errors.Is(err, fault.RateLimited) {
		t.Errorf("six items when there is room for five: %+v, %v", out, err)
	}
	if _, err := w.engine.EncryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "user-pii", Items: items("a", "b", "c", "d", "e")}); err != nil {
		t.Errorf("five items: %v", err)
	}
}

// TestDecryptBudget: whoever has stolen a token decrypts no more than the budget, by no route; and encrypts as before.
func TestDecryptBudget(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", strings.Repeat("p", 100), "").Ciphertext
	useCases := w.useCases(t, subject(w.app))
	w.setSettings(func(s *directory.Settings) { s.Budget = &directory.Budget{Records: 3, Seconds: 3600} })
	w.stop()
	for i := range 5 {
		_, err := w.decrypt("user-pii", frame, "")
		if want := i >= 3; errors.Is(err, fault.RateLimited) != want || !want && err != nil {
			t.Errorf("record %d: %v", i, err)
		}
	}
	shows := map[string]bool{
		"decrypt a batch": true, "decrypt a stream": true, "decapsulate": true, "agree": true, "decrypt with a key": true,
	}
	for _, u := range useCases {
		if _, err := u.run(); errors.Is(err, fault.RateLimited) != shows[u.name] {
			t.Errorf("%s when the budget is spent: %v", u.name, err)
		}
	}
	w.advance(2 * time.Hour)
	if _, err := w.decrypt("user-pii", frame, ""); err != nil {
		t.Errorf("in the next window: %v", err)
	}

	// A grant has a budget of its own, in bytes of ciphertext.
	grants := []directory.Grant{{Context: "user-pii", Encrypt: true, Decrypt: true, Budget: &directory.Budget{Bytes: uint64(len(frame)) * 2, Seconds: 60}}}
	w.propose(command.ChangeApplication{Tenant: w.tenant, Application: w.app.ID, Grants: grants, Before: w.app.Grants})
	w.advance(2 * time.Minute)
	for i := range 3 {
		if _, err := w.decrypt("user-pii", frame, ""); errors.Is(err, fault.RateLimited) != (i == 2) {
			t.Errorf("frame %d of a grant with a budget of two: %v", i, err)
		}
	}
	// A long stream ends where its budget does.
	streamed := w.encryptStream("user-pii", pattern(1<<20), "")
	var out bytes.Buffer
	w.advance(2 * time.Minute)
	err := w.engine.DecryptStream(t.Context(), w.call(), &engine.StreamRequest{Context: "user-pii", Length: -1}, bytes.NewReader(streamed),
		func(engine.StreamInfo) (io.Writer, error) { return &out, nil })
	if !errors.Is(err, fault.RateLimited) || out.Len() > 2*len(frame) {
		t.Errorf("%d bytes of a stream, %v", out.Len(), err)
	}
}

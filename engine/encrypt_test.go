package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/envelope"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

func TestEncryptDecrypt(t *testing.T) {
	w := newWorld(t)
	for context, format := range map[string]int{"user-pii": 4, "legacy": 3} {
		for _, aad := range []string{"", "record 17"} {
			out := w.mustEncrypt(context, "hello", aad)
			f, err := envelope.Parse(out.Ciphertext)
			if err != nil || f.Format != format || out.Format != format || f.Context != context || f.KeyID != out.KeyID {
				t.Fatalf("%s: frame %+v, %v", context, f, err)
			}
			got, err := w.decrypt(context, out.Ciphertext, aad)
			if err != nil || string(got.Plaintext) != "hello" || got.KeyID != out.KeyID || got.Rewrap {
				t.Fatalf("%s: %+v, %v", context, got, err)
			}
		}
	}
}

func TestEncryptRefuses(t *testing.T) {
	w := newWorld(t)
	stranger := subject(w.app)
	stranger.Credential = "appkey_0000000000000000"
	narrowed := subject(w.app)
	narrowed.Narrowed = []string{"payment-data"}
	elsewhere := subject(w.app)
	elsewhere.Tenant = w.newTenant("second")
	cases := []struct {
		name    string
		subject *policy.Subject
		in      engine.EncryptRequest
		want    fault.Kind
	}{
		{"nobody", nil, engine.EncryptRequest{Context: "user-pii"}, fault.Unauthenticated},
		{"signed with another key", stranger, engine.EncryptRequest{Context: "user-pii"}, fault.Unauthenticated},
		{"narrowed token", narrowed, engine.EncryptRequest{Context: "user-pii"}, fault.Forbidden},
		{"another tenant", elsewhere, engine.EncryptRequest{Context: "user-pii"}, fault.Unauthenticated},
		{"a user", &policy.Subject{Kind: policy.KindUser, Tenant: w.tenant}, engine.EncryptRequest{Context: "user-pii"}, fault.Forbidden},
		{"the appliance", w.appliance(w.tenant).Subject, engine.EncryptRequest{Context: "user-pii"}, fault.Forbidden},
		{"context not granted", subject(w.app), engine.EncryptRequest{Context: "closed"}, fault.Forbidden},
		{"context that is not there", subject(w.app), engine.EncryptRequest{Context: "nowhere"}, fault.Forbidden},
		{"odd context name", subject(w.app), engine.EncryptRequest{Context: "user\x00pii"}, fault.Malformed},
		{"long context name", subject(w.app), engine.EncryptRequest{Context: strings.Repeat("a", 1<<20)}, fault.Malformed},
		{"another algorithm", subject(w.app), engine.EncryptRequest{Context: "user-pii", Algorithm: "AES-128-GCM"}, fault.AlgorithmDisallowed},
		{"unknown usage", subject(w.app), engine.EncryptRequest{Context: "user-pii", Usage: "fun"}, fault.Malformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			call := callOf(c.subject)
			out, err := w.engine.Encrypt(t.Context(), call, &c.in)
			if fault.Of(err) != c.want || out.Ciphertext != nil {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if r := w.audit.last.Load(); r.Result != audit.Denied || r.Code != c.want.Code() || call.Receipt.Sequence == 0 {
				t.Fatalf("recorded %+v", r)
			}
		})
	}
}

// TestInvariant03NoAnswerWithoutRecord breaks the audit log and wants every use case refused.
func TestInvariant03NoAnswerWithoutRecord(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", "hello", "").Ciphertext
	before := w.ledger.View().Tenant(w.tenant).Context("user-pii").Versions
	w.audit.fail.Store(true)
	if out, err := w.encrypt("user-pii", "hello", ""); !errors.Is(err, fault.AuditUnavailable) || out.Ciphertext != nil {
		t.Errorf("encrypt: %v", err)
	}
	if out, err := w.decrypt("user-pii", frame, ""); !errors.Is(err, fault.AuditUnavailable) || out.Plaintext != nil {
		t.Errorf("decrypt: %v", err)
	}
	if _, err := w.engine.Contexts(t.Context(), w.call()); !errors.Is(err, fault.AuditUnavailable) {
		t.Errorf("contexts: %v", err)
	}
	if _, err := w.engine.RotateContext(t.Context(), w.appliance(w.tenant), "user-pii"); !errors.Is(err, fault.AuditUnavailable) {
		t.Errorf("rotate: %v", err)
	}
	if after := w.ledger.View().Tenant(w.tenant).Context("user-pii").Versions; after != before {
		t.Error("a context was rotated without a record")
	}
	refusal := fault.New(fault.Forbidden, "test", "no")
	if err := w.engine.Refuse(t.Context(), w.call(), policy.Request, "", refusal); !errors.Is(err, fault.AuditUnavailable) {
		t.Errorf("refuse: %v", err)
	}
	w.audit.fail.Store(false)
	if _, err := w.decrypt("user-pii", frame, ""); err != nil {
		t.Errorf("after the log is mended: %v", err)
	}
}

// TestInvariant05LostToken takes the token away and moves the clock past the grace.
func TestInvariant05LostToken(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", "hello", "").Ciphertext
	now := time.Now()
	w.vault.down.Store(&now)
	if _, err := w.decrypt("user-pii", frame, ""); err != nil {
		t.Fatalf("a cached key within the grace: %v", err)
	}
	if _, err := w.encrypt("payment-data", "x", ""); !errors.Is(err, fault.HSMUnavailable) {
		t.Fatalf("a key that is not cached: %v", err)
	}
	if _, err := w.engine.RotateContext(t.Context(), w.appliance(w.tenant), "user-pii"); !errors.Is(err, fault.HSMUnavailable) {
		t.Fatalf("rotate: %v", err)
	}
	w.clock.Store(int64(2 * time.Minute))
	for range 2 {
		if _, err := w.decrypt("user-pii", frame, ""); !errors.Is(err, fault.HSMUnavailable) {
			t.Fatalf("after the grace: %v", err)
		}
	}
	w.vault.down.Store(nil)
	calls := w.vault.calls.Load()
	if _, err := w.decrypt("user-pii", frame, ""); err != nil {
		t.Fatalf("when the token is back: %v", err)
	}
	if w.vault.calls.Load() == calls {
		t.Error("the key was still cached after the grace")
	}
}

func TestNoGraceRefusesAtOnce(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.Grace = 0 })
	frame := w.mustEncrypt("user-pii", "hello", "").Ciphertext
	now := time.Now()
	w.vault.down.Store(&now)
	if _, err := w.decrypt("user-pii", frame, ""); !errors.Is(err, fault.HSMUnavailable) {
		t.Fatalf("got %v", err)
	}
}

// TestInvariant06RotationLosesNothing rotates while others encrypt, then opens everything.
func TestInvariant06RotationLosesNothing(t *testing.T) {
	w := newWorld(t)
	const workers, each, rotations = 4, 50, 10
	frames := make(chan []byte, workers*each)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range each {
				out, err := w.encrypt("user-pii", fmt.Sprint(i), "")
				if err != nil {
					t.Error(err)
					return
				}
				frames <- out.Ciphertext
			}
		})
	}
	for range rotations {
		w.rotate("user-pii")
	}
	all.Wait()
	close(frames)
	active := w.ledger.View().Tenant(w.tenant).Context("user-pii").ActiveKey
	if n := w.ledger.View().Tenant(w.tenant).Context("user-pii").Versions; n != rotations+1 {
		t.Errorf("version %d after %d rotations", n, rotations)
	}
	opened := 0
	for frame := range frames {
		out, err := w.decrypt("user-pii", frame, "")
		if err != nil {
			t.Fatal(err)
		}
		if out.Rewrap != (out.KeyID != active) {
			t.Fatalf("rewrap %v for %s, %s is active", out.Rewrap, out.KeyID, active)
		}
		opened++
	}
	if opened != workers*each {
		t.Errorf("opened %d of %d", opened, workers*each)
	}
}

// TestInvariant04RotatedVersionNeverProtects encrypts from many goroutines while a context rotates: an operation that starts
// after a rotation was answered must use the new version.
func TestInvariant04RotatedVersionNeverProtects(t *testing.T) {
	w := newWorld(t)
	var answered atomic.Uint32 // number of the version that the last answered rotation made
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := answered.Load()
				out, err := w.encrypt("user-pii", "x", "")
				if err != nil {
					t.Error(err)
					return
				}
				if v := w.ledger.View().Tenant(w.tenant).Version(out.KeyID); v.Number < least {
					t.Errorf("version %d protected after the rotation to %d was answered", v.Number, least)
					return
				}
			}
		})
	}
	for range 20 {
		answered.Store(w.rotate("user-pii").Version.Number)
	}
	close(stop)
	all.Wait()
}

func TestRotationsAtOnceConflict(t *testing.T) {
	w := newWorld(t)
	// The first proposal waits until the second call has made its record from the same state.
	entered := make(chan struct{}, 2)
	release := make(chan struct{})
	w.ledger.onPropose = func(c command.Command) error {
		if _, ok := c.(command.RotateContext); ok {
			entered <- struct{}{}
			<-release
		}
		return nil
	}
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := w.engine.RotateContext(t.Context(), w.appliance(w.tenant), "user-pii")
			results <- err
		}()
	}
	<-entered
	<-entered
	close(release)
	first, second := <-results, <-results
	if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), fault.Conflict) {
		t.Fatalf("got %v and %v", first, second)
	}
}

// TestUsersRotationsAtOnce: two users who rotate at the same time, each on a node that does not know of the other, both get a version.
func TestUsersRotationsAtOnce(t *testing.T) {
	w := newWorld(t)
	owner := w.owner()
	var proposals atomic.Int64
	both := make(chan struct{})
	w.ledger.onPropose = func(command.Command) error {
		if n := proposals.Add(1); n == 2 {
			close(both)
		} else if n == 1 {
			<-both
		}
		return nil
	}
	versions := make(chan uint32, 2)
	for range 2 {
		go func() {
			out, err := w.engine.RotateContext(t.Context(), callOf(owner.Subject), "user-pii")
			if err != nil {
				t.Error(err)
				versions <- 0
				return
			}
			versions <- out.Version.Number
		}()
	}
	if a, b := <-versions, <-versions; a+b != 5 || proposals.Load() != 3 {
		t.Errorf("versions %d and %d by %d proposals", a, b, proposals.Load())
	}
}

// TestWarmPathStaysLocal wants no token call and no Raft write from an operation with warm caches.
func TestWarmPathStaysLocal(t *testing.T) {
	w := newWorld(t)
	frames := map[string][]byte{}
	for _, c := range []string{"user-pii", "legacy"} {
		frames[c] = w.mustEncrypt(c, "hello", "").Ciphertext
	}
	calls, writes := w.vault.calls.Load(), w.ledger.writes.Load()
	for range 100 {
		for c, frame := range frames {
			w.mustEncrypt(c, "hello", "")
			if _, err := w.decrypt(c, frame, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := w.vault.calls.Load() - calls; n != 0 {
		t.Errorf("%d calls to the token", n)
	}
	if n := w.ledger.writes.Load() - writes; n != 0 {
		t.Errorf("%d Raft writes", n)
	}
}

// TestFormat3Budget draws a version's budget down and wants it rotated by itself before it is used up, and never passed.
func TestFormat3Budget(t *testing.T) {
	w := newWorld(t)
	first := w.ledger.View().Tenant(w.tenant).Context("legacy").ActiveKey
	draw := func(n uint64) {
		t.Helper()
		if _, err := w.ledger.Propose(t.Context(), command.LeaseUsage{Key: first, Count: n}); err != nil {
			t.Fatal(err)
		}
	}
	draw(keys.RotateAt - 1)
	out := w.mustEncrypt("legacy", "x", "")
	now := w.ledger.View().Tenant(w.tenant).Context("legacy")
	if now.ActiveKey == first {
		t.Fatalf("not rotated at %d messages", keys.RotateAt)
	}
	if out.KeyID != now.ActiveKey {
		t.Errorf("encrypted with %s after the rotation to %s", out.KeyID, now.ActiveKey)
	}
	if r := w.ledger.View().Tenant(w.tenant).Version(first); r.State != keys.Deactivated {
		t.Errorf("the version before is %s", r.State)
	}
}

func TestFormat3BudgetIsNeverPassed(t *testing.T) {
	w := newWorld(t)
	w.ledger.onPropose = func(c command.Command) error {
		if _, ok := c.(command.RotateContext); ok {
			return fault.New(fault.LedgerUnavailable, "test", "no rotation today")
		}
		return nil
	}
	id := w.ledger.View().Tenant(w.tenant).Context("legacy").ActiveKey
	if _, err := w.ledger.Propose(t.Context(), command.LeaseUsage{Key: id, Count: keys.GCMRandomNonceLimit - 2}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.mustEncrypt("legacy", "x", "")
	}
	if _, err := w.encrypt("legacy", "x", ""); !errors.Is(err, fault.KeyState) {
		t.Fatalf("message 2^32 + 1: %v", err)
	}
	if v := w.ledger.View().Tenant(w.tenant).Version(id); v.Leased != keys.GCMRandomNonceLimit {
		t.Errorf("leased %d", v.Leased)
	}
}

func TestDeterministicContextHasNoSalt(t *testing.T) {
	w := newWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "same-again", Derivation: directory.Deterministic})
	tenant := w.ledger.View().Tenant(w.tenant)
	if v := tenant.Version(tenant.Context("same-again").ActiveKey); len(v.Salt) != 0 {
		t.Error("a deterministic version has a salt")
	}
	if v := tenant.Version(tenant.Context("user-pii").ActiveKey); len(v.Salt) != keys.SaltBytes {
		t.Error("a salted version has none")
	}
}

func TestRecordsTellSizesAndNoPayload(t *testing.T) {
	w := newWorld(t)
	out := w.mustEncrypt("user-pii", strings.Repeat("s3cret", 10), "private-aad")
	r := w.audit.last.Load()
	if r.Action != "crypto.encrypt" || r.Context != "user-pii" || r.KeyID != out.KeyID || r.Algorithm != "AES-256-GCM" || r.Format != 4 ||
		r.In != 60 || r.Out != len(out.Ciphertext) || r.Tenant != w.tenant || r.Subject != w.app.ID || r.Kind != "application" || r.Result != audit.Success {
		t.Errorf("recorded %+v", r)
	}
	if text := fmt.Sprintf("%+v", r); strings.Contains(text, "s3cret") || strings.Contains(text, "private-aad") {
		t.Error("the record holds a payload")
	}
}

func TestDstIsUsed(t *testing.T) {
	w := newWorld(t)
	buf := make([]byte, 0, 1024)
	out, err := w.engine.Encrypt(t.Context(), w.call(), &engine.EncryptRequest{Context: "user-pii", Plaintext: []byte("hello"), Dst: buf})
	if err != nil || &out.Ciphertext[0] != &buf[:1][0] {
		t.Fatalf("the frame is not in the caller's buffer: %v", err)
	}
	plain := make([]byte, 0, 1024)
	back, err := w.engine.Decrypt(t.Context(), w.call(), &engine.DecryptRequest{Context: "user-pii", Ciphertext: out.Ciphertext, Dst: plain})
	if err != nil || &back.Plaintext[0] != &plain[:1][0] || !bytes.Equal(back.Plaintext, []byte("hello")) {
		t.Fatalf("the plaintext is not in the caller's buffer: %v", err)
	}
}

package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// TestFewPoliciesAskForTheMoment: what is computed anew in each call is bounded, what is not costs nothing.
func TestFewPoliciesAskForTheMoment(t *testing.T) {
	w := newWorld(t)
	make := func(name, expression string) error {
		_, err := w.engine.CreatePolicy(t.Context(), w.owner(), engine.PolicySpec{Name: name, Expression: expression})
		return err
	}
	for i := range 16 {
		if err := make(fmt.Sprintf("size-%d", i), "data.size < 1000000"); err != nil {
			t.Fatal(err)
		}
	}
	if err := make("size-16", "data.size < 1000000"); !errors.Is(err, fault.Conflict) {
		t.Errorf("a policy too many: %v", err)
	}
	if err := make("fixed", "context.name != 'x'"); err != nil {
		t.Errorf("one that asks for neither size nor time: %v", err)
	}
	if _, err := w.engine.ChangePolicy(t.Context(), w.owner(), engine.PolicySpec{Name: "size-3", Expression: "data.size < 5"}); err != nil {
		t.Errorf("a change of one of them: %v", err)
	}
}

// TestSecretsTypedAsIDs: a code or token that somebody sends where an id belongs is not in the audit log.
func TestSecretsTypedAsIDs(t *testing.T) {
	w := newWorld(t)
	for name, act := range map[string]func() error{
		"invitation": func() error { return w.engine.DropInvitation(t.Context(), w.owner(), "cs_invite_secret") },
		"session":    func() error { return w.engine.EndSession(t.Context(), w.owner(), "cs_session_secret") },
		"user": func() error {
			_, err := w.engine.User(t.Context(), w.owner(), "cs_session_secret")
			return err
		},
	} {
		if err := act(); err == nil {
			t.Errorf("%s: it was found", name)
		}
		if got := w.audit.last.Load().Resource; got != "withheld" {
			t.Errorf("%s: the record names %q", name, got)
		}
	}
}

// TestAnybodyFillsNoAuditLog: routes that need no credential leave a bounded number of records, however often they are called.
func TestAnybodyFillsNoAuditLog(t *testing.T) {
	w := newWorld(t)
	w.stop()
	from := func() *engine.Call { return &engine.Call{Source: "192.0.2.9:1", RequestID: "r"} }
	for name, call := range map[string]func(i int){
		"empty passwords": func(int) { _, _ = w.engine.Login(t.Context(), from(), &engine.LoginRequest{Name: "x"}) },
		"made-up sessions": func(i int) {
			_ = w.engine.RevokeToken(t.Context(), from(), engine.Revocation{Session: [32]byte{byte(i), byte(i >> 8)}})
		},
	} {
		before := w.audit.all.Load()
		for i := range 2000 {
			call(i)
		}
		if n := w.audit.all.Load() - before; n > 40 {
			t.Errorf("%s: %d records of 2000 calls", name, n)
		}
	}
}

// TestBudgetOfShortStreams: the last segment of a stream, which may be its only one, counts too.
func TestBudgetOfShortStreams(t *testing.T) {
	w := newWorld(t)
	streamed := w.encryptStream("user-pii", pattern(60_000), "")
	w.setSettings(func(s *directory.Settings) { s.Budget = &directory.Budget{Bytes: 100_000, Seconds: 3600} })
	w.stop()
	passed := 0
	for range 5 {
		var out bytes.Buffer
		err := w.engine.DecryptStream(t.Context(), w.call(), &engine.StreamRequest{Context: "user-pii", Length: -1}, bytes.NewReader(streamed),
			func(engine.StreamInfo) (io.Writer, error) { return &out, nil })
		switch {
		case err == nil:
			passed++
		case !errors.Is(err, fault.RateLimited) || out.Len() != 0:
			t.Errorf("%d bytes came out: %v", out.Len(), err)
		}
	}
	if passed != 1 {
		t.Errorf("%d streams of 60,000 bytes passed a budget of 100,000", passed)
	}
	w.advance(2 * time.Hour)
}

// TestBudgetsAreKept: a developer cannot be rid of a budget by giving up a grant and taking it again.
func TestBudgetsAreKept(t *testing.T) {
	w := newWorld(t)
	developer := w.userNamed("dev", directory.Developer)
	w.newContext(w.tenant, engine.ContextSpec{Name: "open", SelfService: true})
	app, err := w.engine.CreateApplication(t.Context(), developer, engine.ApplicationSpec{Name: "mine", Grants: []directory.Grant{{Context: "open", Decrypt: true}}})
	if err != nil {
		t.Fatal(err)
	}
	bounded := []directory.Grant{{Context: "open", Decrypt: true, Budget: &directory.Budget{Records: 1, Seconds: 60}}}
	if _, err := w.engine.ChangeApplication(t.Context(), w.owner(), app.ID, engine.ApplicationChange{Grants: bounded}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.ChangeApplication(t.Context(), developer, app.ID, engine.ApplicationChange{}); !errors.Is(err, fault.Forbidden) {
		t.Errorf("the developer gave up the grant: %v", err)
	}
	if _, err := w.engine.ChangeApplication(t.Context(), w.owner(), app.ID, engine.ApplicationChange{}); err != nil {
		t.Errorf("the owner takes it away: %v", err)
	}
}

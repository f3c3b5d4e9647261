package engine_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
)

// TestCredentialsStayInTheTenant has the appliance, in one tenant, start credentials for another.
func TestCredentialsStayInTheTenant(t *testing.T) {
	w := newWorld(t)
	owner := w.user(directory.Owner)
	second := w.newTenant("second")
	writes := w.ledger.writes.Load()
	err := w.engine.StartRefresh(t.Context(), w.appliance(second), w.family(w.app, "fam_1", [32]byte{1}))
	if !errors.Is(err, fault.Forbidden) {
		t.Errorf("refresh family: %v", err)
	}
	err = w.engine.StartSession(t.Context(), w.appliance(second), directory.Session{
		Hash: [32]byte{1}, User: owner.ID, Tenant: w.tenant,
		CreatedAt: time.Now().UnixMilli(), ExpiresAt: time.Now().Add(time.Hour).UnixMilli(),
	})
	if !errors.Is(err, fault.Forbidden) {
		t.Errorf("session: %v", err)
	}
	if n := w.ledger.writes.Load() - writes; n != 0 {
		t.Errorf("%d changes were proposed", n)
	}
}

// TestContextListIsFiltered lists as applications with fewer grants than the tenant has contexts.
func TestContextListIsFiltered(t *testing.T) {
	w := newWorld(t)
	narrowed := subject(w.app)
	narrowed.Narrowed = []string{"payment-data", "closed"}
	bare := subject(w.newApplication(w.tenant, "bare"))
	halves, err := w.engine.CreateApplication(t.Context(), w.appliance(w.tenant), engine.ApplicationSpec{
		Name: "halves", Grants: []directory.Grant{{Context: "closed", Encrypt: true}, {Context: "legacy", Decrypt: true}, {Context: "user-pii"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	second := w.newTenant("second")
	w.newContext(second, engine.ContextSpec{Name: "theirs"})
	tests := []struct {
		name string
		call *engine.Call
		want []string
	}{
		{"granted", w.call(), []string{"legacy", "payment-data", "user-pii"}},
		{"narrowed", callOf(narrowed), []string{"payment-data"}},
		{"one way only", callOf(subject(halves)), []string{"closed", "legacy"}},
		{"nothing granted", callOf(bare), nil},
		{"a viewer", callOf(w.user(directory.Viewer)), []string{"closed", "legacy", "payment-data", "user-pii"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := w.engine.Contexts(t.Context(), tt.call)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, c := range list {
				names = append(names, c.Record.Name)
			}
			if !slices.Equal(names, tt.want) {
				t.Errorf("listed %q, want %q", names, tt.want)
			}
		})
	}
}

// TestReserveIsForAdministrators looks at which records may use what is left of a full disk: those of changes that a user or
// the appliance was allowed to make, and no others.
func TestReserveIsForAdministrators(t *testing.T) {
	w := newWorld(t)
	owner, viewer := w.user(directory.Owner), w.user(directory.Viewer)
	if err := w.engine.StartRefresh(t.Context(), w.appliance(w.tenant), w.family(w.app, "fam_1", [32]byte{1})); err != nil {
		t.Fatal(err)
	}
	rotate := func(c *engine.Call, name string) func() error {
		return func() error {
			_, err := w.engine.RotateContext(t.Context(), c, name)
			return err
		}
	}
	refresh := func(family string) func() error {
		return func() error {
			return w.engine.RotateRefresh(t.Context(), callOf(nil), engine.RefreshRotation{
				Family: family, Presented: [32]byte{1}, Next: [32]byte{2}, ExpiresAt: time.Now().Add(time.Hour),
			})
		}
	}
	tests := []struct {
		name           string
		run            func() error
		want           fault.Kind
		results        []audit.Result
		administrative bool
	}{
		{"an owner rotates", rotate(callOf(owner), "user-pii"), fault.Unknown, []audit.Result{audit.Started, audit.Success}, true},
		{"the appliance rotates", rotate(w.appliance(w.tenant), "user-pii"), fault.Unknown, []audit.Result{audit.Started, audit.Success}, true},
		{"nobody rotates", rotate(callOf(nil), "user-pii"), fault.Unauthenticated, []audit.Result{audit.Denied}, false},
		{"an application rotates", rotate(w.call(), "user-pii"), fault.Forbidden, []audit.Result{audit.Denied}, false},
		{"a viewer rotates", rotate(callOf(viewer), "user-pii"), fault.Forbidden, []audit.Result{audit.Denied}, false},
		{"an owner rotates what is not there", rotate(callOf(owner), "nowhere"), fault.NotFound, []audit.Result{audit.Denied}, false},
		{"refresh", refresh("fam_1"), fault.Unknown, []audit.Result{audit.Started, audit.Success}, false},
		{"refresh with a used token", refresh("fam_1"), fault.Unauthenticated, []audit.Result{audit.Started, audit.Denied}, false},
		{"refresh of an unknown family", refresh("fam_2"), fault.Unauthenticated, []audit.Result{audit.Denied}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var results []audit.Result
			w.audit.onAppend = func(r *audit.Record) {
				results = append(results, r.Result)
				if r.Administrative != tt.administrative {
					t.Errorf("the record of %s, %s, is administrative: %v", r.Action, r.Result, r.Administrative)
				}
			}
			defer func() { w.audit.onAppend = nil }()
			if err := tt.run(); fault.Of(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if !slices.Equal(results, tt.results) {
				t.Errorf("recorded %v, want %v", results, tt.results)
			}
		})
	}
}

// TestKeySealIsDestroyed keeps a reference to each key that seals private keys and wants it overwritten after its use.
func TestKeySealIsDestroyed(t *testing.T) {
	w := newWorld(t)
	var (
		mu   sync.Mutex
		kept []secret.Bytes
	)
	w.vault.onExpand = func(info []byte, key secret.Bytes) {
		if bytes.Contains(info, []byte("key-seal")) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, key)
		}
	}
	app := w.newApplication(w.tenant, "sealed")
	if _, _, err := w.engine.AccessSigner(t.Context(), app.ID); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 2 {
		t.Fatalf("%d keys were derived, not one to seal and one to open", len(kept))
	}
	for i, key := range kept {
		if !bytes.Equal(key.Reveal(), make([]byte, 32)) {
			t.Errorf("key %d is still there", i+1)
		}
	}
}

// TestRefreshIsTimedByTheEngine moves the engine's clock past the end of a family.
func TestRefreshIsTimedByTheEngine(t *testing.T) {
	w := newWorld(t)
	if err := w.engine.StartRefresh(t.Context(), w.appliance(w.tenant), w.family(w.app, "fam_1", [32]byte{1})); err != nil {
		t.Fatal(err)
	}
	rotate := func(from, to byte) error {
		return w.engine.RotateRefresh(t.Context(), callOf(nil), engine.RefreshRotation{
			Family: "fam_1", Presented: [32]byte{from}, Next: [32]byte{to}, ExpiresAt: time.Now().Add(time.Hour),
		})
	}
	if err := rotate(1, 2); err != nil {
		t.Fatal(err)
	}
	w.clock.Store(int64(2 * time.Hour))
	if err := rotate(2, 3); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("after the end of the family: %v", err)
	}
}

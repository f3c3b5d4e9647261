package engine_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// noWait lets destructions happen at once.
func noWait(c *engine.Config) { c.DestroyMinimum = -1 }

// activeKey returns the id of the version that protects in a context of the world's tenant.
func (w *world) activeKey(context string) string {
	return w.ledger.View().Tenant(w.tenant).Context(context).ActiveKey
}

func (w *world) version(id string) *keys.Version { return w.ledger.View().Tenant(w.tenant).Version(id) }

// propose applies a command as another node would have done it.
func (w *world) propose(c command.Command) {
	w.t.Helper()
	if _, err := w.ledger.Propose(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// lifeActs are the acts on a version by name.
func (w *world) lifeActs(c func() *engine.Call) map[string]func(id string) error {
	ctx := w.t.Context()
	days := 0
	only := func(_ engine.VersionInfo, err error) error { return err }
	return map[string]func(string) error{
		"suspend":    func(id string) error { return only(w.engine.SuspendVersion(ctx, c(), id, "why")) },
		"resume":     func(id string) error { return only(w.engine.ResumeVersion(ctx, c(), id, "why")) },
		"deactivate": func(id string) error { return only(w.engine.DeactivateVersion(ctx, c(), id, "why")) },
		"compromise": func(id string) error { return only(w.engine.CompromiseVersion(ctx, c(), id, "why")) },
		"destroy": func(id string) error {
			_, err := w.engine.DestroyVersion(ctx, c(), id, "why", &days)
			return err
		},
		"cancel": func(id string) error { return only(w.engine.CancelDestruction(ctx, c(), id, "why")) },
	}
}

// TestVersionLife does each act to a version in each state, and looks at what became of it and at the records.
func TestVersionLife(t *testing.T) {
	w := newWorld(t, noWait)
	w.owner() // whose own records are not looked at
	acts := w.lifeActs(w.owner)
	actions := map[string]policy.Action{
		"suspend": policy.SuspendVersion, "resume": policy.ResumeVersion, "deactivate": policy.DeactivateVersion,
		"compromise": policy.CompromiseVersion, "destroy": policy.DestroyVersion, "cancel": policy.CancelDestruction,
	}
	// How a new version of the context comes to stand, and what each act makes of it; what is absent is refused.
	tests := []struct {
		name   string
		before []string // "rotate" is one that another version replaced
		after  map[string]keys.State
	}{
		{"active", nil, map[string]keys.State{
			"suspend": keys.Suspended, "deactivate": keys.Deactivated, "compromise": keys.Compromised,
		}},
		{"suspended", []string{"suspend"}, map[string]keys.State{
			"resume": keys.Active, "deactivate": keys.Deactivated, "compromise": keys.Compromised,
		}},
		{"suspended and replaced", []string{"suspend", "rotate"}, map[string]keys.State{
			"resume": keys.Deactivated, "deactivate": keys.Deactivated, "compromise": keys.Compromised,
		}},
		{"deactivated", []string{"rotate"}, map[string]keys.State{"compromise": keys.Compromised, "destroy": keys.Deactivated}},
		{"compromised", []string{"compromise"}, map[string]keys.State{"destroy": keys.Compromised}},
		{"waiting", []string{"rotate", "destroy"}, map[string]keys.State{
			"compromise": keys.Compromised, "cancel": keys.Deactivated,
		}},
		{"destroyed", []string{"rotate", "destroy", "duties"}, nil},
	}
	for _, tt := range tests {
		for name, act := range acts {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				id := w.rotate("user-pii").Version.ID
				for _, b := range tt.before {
					var err error
					switch b {
					case "rotate":
						w.rotate("user-pii")
					case "duties":
						err = w.engine.RunDuties(t.Context())
					default:
						err = acts[b](id)
					}
					if err != nil {
						t.Fatalf("%s: %v", b, err)
					}
				}
				before := w.version(id)
				var records []audit.Record
				w.audit.onAppend = func(r *audit.Record) { records = append(records, *r) }
				err := act(id)
				w.audit.onAppend = nil
				after, want := w.version(id), tt.after[name]
				r := records[len(records)-1]
				if r.Action != string(actions[name]) || r.Resource != id || r.KeyID != id || r.Context != "user-pii" || r.Kind != "user" {
					t.Errorf("recorded %+v", r)
				}
				if want == keys.StateUnknown {
					if k := fault.Of(err); k != fault.KeyState && k != fault.Conflict {
						t.Errorf("got %v", err)
					}
					if !reflect.DeepEqual(after, before) || r.Result != audit.Denied {
						t.Errorf("refused, and the version is %+v; recorded %+v", after, r)
					}
					return
				}
				if err != nil || after.State != want || after.Reason != "why" || (after.DestroyAt != 0) != (name == "destroy" || tt.name == "waiting" && name != "cancel") {
					t.Errorf("got %v, %+v", err, after)
				}
				if len(records) != 2 || records[0].Result != audit.Started || r.Result != audit.Success {
					t.Errorf("%d records, the last %+v", len(records), r)
				}
			})
		}
	}
}

// TestVersionLifeIsForAdministrators: no other role, no application, and nobody of another tenant, who is told what somebody is
// told that asks for nothing.
func TestVersionLifeIsForAdministrators(t *testing.T) {
	w := newWorld(t, noWait)
	other := w.newTenant("other")
	key := w.newKey(algs.Ed25519, keys.Host)
	id := w.activeKey("user-pii")
	ctx := t.Context()
	calls := func(c func() *engine.Call) map[string]func(id string) error {
		acts := w.lifeActs(c)
		acts["context minimum"] = func(string) error { return w.engine.SetContextMinimum(ctx, c(), "user-pii", 1) }
		acts["key minimum"] = func(string) error { return w.engine.SetKeyMinimum(ctx, c(), key, 1) }
		acts["rotation"] = func(string) error { return w.engine.SetKeyRotation(ctx, c(), key, 30) }
		return acts
	}
	for _, role := range directory.Roles {
		allowed := role == directory.Admin || role == directory.Owner
		for name, act := range calls(func() *engine.Call { return w.userCall(w.tenant, role) }) {
			if name == "suspend" && allowed {
				continue // TestVersionLife
			}
			if err := act(id); errors.Is(err, fault.Forbidden) == allowed {
				t.Errorf("%s as %s: %v", name, role, err)
			}
		}
	}
	id = w.rotate("user-pii").Version.ID
	for name, act := range calls(w.call) {
		if err := act(id); !errors.Is(err, fault.Forbidden) {
			t.Errorf("%s as an application: %v", name, err)
		}
	}
	for name, act := range calls(func() *engine.Call { return callOf(nil) }) {
		if err := act(id); !errors.Is(err, fault.Unauthenticated) {
			t.Errorf("%s as nobody: %v", name, err)
		}
	}
	for name, act := range calls(func() *engine.Call { return w.userCall(other, directory.Owner) }) {
		theirs, none := act(id), act("key_user-pii_0000000000000000")
		if !errors.Is(theirs, fault.NotFound) || theirs.Error() != none.Error() {
			t.Errorf("%s from another tenant: %v, and of nothing: %v", name, theirs, none)
		}
	}
	lists := map[string]func(*engine.Call) ([]engine.VersionInfo, error){
		"context": func(c *engine.Call) ([]engine.VersionInfo, error) {
			return w.engine.ContextVersions(ctx, c, "user-pii")
		},
		"key":   func(c *engine.Call) ([]engine.VersionInfo, error) { return w.engine.KeyVersions(ctx, c, key) },
		"usage": func(c *engine.Call) ([]engine.VersionInfo, error) { return w.engine.KeyUsage(ctx, c, "user-pii") },
	}
	for name, list := range lists {
		for _, role := range directory.Roles {
			want := fault.Unknown
			if role == directory.Operator || role == directory.Backup {
				want = fault.Forbidden
			}
			got, err := list(w.userCall(w.tenant, role))
			if fault.Of(err) != want || (err != nil && got != nil) {
				t.Errorf("versions of the %s as %s: %v", name, role, err)
			}
		}
		if _, err := list(w.userCall(other, directory.Owner)); !errors.Is(err, fault.NotFound) {
			t.Errorf("versions of the %s from another tenant: %v", name, err)
		}
		if _, err := list(w.call()); !errors.Is(err, fault.Forbidden) {
			t.Errorf("versions of the %s as an application: %v", name, err)
		}
		w.audit.fail.Store(true)
		got, err := list(w.owner())
		w.audit.fail.Store(false)
		if got != nil || !errors.Is(err, fault.AuditUnavailable) {
			t.Errorf("versions of the %s without a record: %v, %v", name, got, err)
		}
	}
}

// TestLifeInput: each bad input has its own answer, and changes nothing.
func TestLifeInput(t *testing.T) {
	w := newWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "fixed", Derivation: directory.Deterministic})
	key := w.newKey(algs.Ed25519, keys.Host)
	old := w.activeKey("user-pii")
	w.rotate("user-pii")
	ctx, long := t.Context(), strings.Repeat("x", directory.ReasonMax+1)
	destroy := func(id, reason string, days ...int) error {
		var wait *int
		if len(days) > 0 {
			wait = &days[0]
		}
		_, err := w.engine.DestroyVersion(ctx, w.owner(), id, reason, wait)
		return err
	}
	compromise := func(reason string) error {
		_, err := w.engine.CompromiseVersion(ctx, w.owner(), old, reason)
		return err
	}
	suspend := func(id, reason string) error {
		_, err := w.engine.SuspendVersion(ctx, w.owner(), id, reason)
		return err
	}
	for name, c := range map[string]struct {
		err  error
		want fault.Kind
		says string
	}{
		"compromise without a reason": {compromise(""), fault.Malformed, "reason"},
		"compromise, long reason":     {compromise(long), fault.Malformed, "reason"},
		"suspend, long reason":        {suspend(old, long), fault.Malformed, "reason"},
		"suspend nothing":             {suspend("", ""), fault.NotFound, ""},
		"suspend what is no id":       {suspend("key_user-pii_*\x00", ""), fault.NotFound, ""},
		"destroy without a reason":    {destroy(old, ""), fault.Malformed, "reason"},
		"destroy, long reason":        {destroy(old, long), fault.Malformed, "reason"},
		"destroy yesterday":           {destroy(old, "r", -1), fault.Malformed, "wait_days"},
		"destroy in a lifetime":       {destroy(old, "r", 367), fault.Malformed, "wait_days"},
		"destroy too soon":            {destroy(old, "r", 6), fault.Malformed, "wait_days"},
		"destroy nothing":             {destroy("key_user-pii_0000000000000000", "r"), fault.NotFound, ""},
		"minimum above all":           {w.engine.SetContextMinimum(ctx, w.owner(), "user-pii", 3), fault.Conflict, ""},
		"minimum, no context":         {w.engine.SetContextMinimum(ctx, w.owner(), "none", 1), fault.NotFound, ""},
		"minimum, bad context":        {w.engine.SetContextMinimum(ctx, w.owner(), "No!", 1), fault.Malformed, "context"},
		"key minimum above all":       {w.engine.SetKeyMinimum(ctx, w.owner(), key, 2), fault.Conflict, ""},
		"key minimum, no key":         {w.engine.SetKeyMinimum(ctx, w.owner(), "none", 1), fault.NotFound, ""},
		"key minimum, bad key":        {w.engine.SetKeyMinimum(ctx, w.owner(), "No!", 1), fault.Malformed, "key"},
		"rotation, negative":          {w.engine.SetKeyRotation(ctx, w.owner(), key, -1), fault.Malformed, "days"},
		"rotation, too long":          {w.engine.SetKeyRotation(ctx, w.owner(), key, 3651), fault.Malformed, "days"},
		"rotation, no key":            {w.engine.SetKeyRotation(ctx, w.owner(), "none", 1), fault.NotFound, ""},
	} {
		var f *fault.Error
		if !errors.Is(c.err, c.want) || !errors.As(c.err, &f) {
			t.Errorf("%s: %v", name, c.err)
			continue
		}
		if c.says != "" && (len(f.Fields) != 1 || f.Fields[0].Name != c.says) {
			t.Errorf("%s: the fields are %+v", name, f.Fields)
		}
	}
	if v := w.version(old); v.State != keys.Deactivated || v.DestroyAt != 0 || v.Reason != "" {
		t.Errorf("the version was changed: %+v", v)
	}
	for name, list := range map[string]func(string) ([]engine.VersionInfo, error){
		"context": func(n string) ([]engine.VersionInfo, error) { return w.engine.ContextVersions(ctx, w.owner(), n) },
		"key":     func(n string) ([]engine.VersionInfo, error) { return w.engine.KeyVersions(ctx, w.owner(), n) },
		"usage":   func(n string) ([]engine.VersionInfo, error) { return w.engine.KeyUsage(ctx, w.owner(), n) },
	} {
		if _, err := list("No!"); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s, bad name: %v", name, err)
		}
		if _, err := list("none"); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s, no such name: %v", name, err)
		}
	}
}

// TestWaitingPeriod: that of the settings, a longer one of the request, and a shorter one only as the configuration lets.
func TestWaitingPeriod(t *testing.T) {
	const day = int64(24 * time.Hour / time.Millisecond)
	days := func(n int) *int { return &n }
	for name, c := range map[string]struct {
		minimum  time.Duration
		settings int64
		asked    *int
		want     int64 // in days; -1 is refused
	}{
		"default":                     {0, 0, nil, 7},
		"longer":                      {0, 0, days(30), 30},
		"shorter":                     {0, 0, days(6), -1},
		"longer settings":             {0, 20 * day, nil, 20},
		"below the settings":          {0, 20 * day, days(19), -1},
		"settings below the minimum":  {0, day, nil, 7},
		"a minimum of two days":       {48 * time.Hour, 0, days(2), 2},
		"below that":                  {48 * time.Hour, 0, days(1), -1},
		"development":                 {-1, 0, days(0), 0},
		"development, if not said so": {-1, 0, nil, 7},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(e *engine.Config) { e.DestroyMinimum = c.minimum })
			if c.settings != 0 {
				w.propose(command.ChangeSettings{Tenant: w.tenant, Settings: directory.Settings{DestroyWait: c.settings, Revision: 1}})
			}
			id := w.activeKey("user-pii")
			w.rotate("user-pii")
			before := time.Now().UnixMilli()
			out, err := w.engine.DestroyVersion(t.Context(), w.owner(), id, "r", c.asked)
			if c.want < 0 {
				if !errors.Is(err, fault.Malformed) || w.version(id).DestroyAt != 0 {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			at := out.Version.Record.DestroyAt - c.want*day
			if at < before || at > time.Now().UnixMilli() || w.version(id).DestroyAt != out.Version.Record.DestroyAt {
				t.Errorf("it will be destroyed at %+v", out.Version.Record)
			}
		})
	}
}

// TestDestroySaysWhetherItShreds for each kind of key.
func TestDestroySaysWhetherItShreds(t *testing.T) {
	w := newWorld(t, noWait)
	w.newContext(w.tenant, engine.ContextSpec{Name: "fixed", Derivation: directory.Deterministic})
	w.newContext(w.tenant, engine.ContextSpec{Name: "hybrid", QuantumSafe: true})
	now := 0
	ids := map[string]string{"user-pii": "", "fixed": "", "hybrid": ""}
	for name := range ids {
		ids[name] = w.activeKey(name)
		w.rotate(name)
	}
	for _, p := range []keys.Protection{keys.Host, keys.Token} {
		name := w.newKey(algs.ECDSAP256, p)
		ids[name] = w.ledger.View().Tenant(w.tenant).Object(name).ActiveKey
		if _, err := w.engine.RotateKey(t.Context(), w.owner(), name); err != nil {
			t.Fatal(err)
		}
	}
	for name, id := range ids {
		out, err := w.engine.DestroyVersion(t.Context(), w.owner(), id, "r", &now)
		if err != nil {
			t.Fatal(err)
		}
		if shreds := name != "fixed"; out.Version.Shreddable != shreds || (len(out.Warnings) == 0) != shreds {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if err := w.engine.RunDuties(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, id := range ids {
		v := w.version(id)
		if v.State != keys.Destroyed || len(v.Salt)+len(v.Sealed)+len(v.Wrapped) != 0 {
			t.Errorf("%s: %+v", name, v)
		}
	}
	list, err := w.engine.ContextVersions(t.Context(), w.owner(), "fixed")
	if err != nil || len(list) != 2 || list[1].Record.State != keys.Destroyed || list[1].Shreddable || !list[0].Active {
		t.Errorf("got %+v, %v", list, err)
	}
}

// TestDestroyAsksForApproval where the tenant's settings want it: the waiting period begins when the last one approves.
func TestDestroyAsksForApproval(t *testing.T) {
	w := newWorld(t, noWait)
	rule := []directory.ApprovalRule{{Act: directory.ActDestroyKey, Approvers: 1}}
	w.propose(command.ChangeSettings{Tenant: w.tenant, Settings: directory.Settings{Approvals: rule, Revision: 1}})
	id := w.activeKey("user-pii")
	approver := w.userCall(w.tenant, directory.Admin).Subject.ID
	two := 2
	if _, err := w.engine.DestroyVersion(t.Context(), w.owner(), id, "r", &two); !errors.Is(err, fault.KeyState) {
		t.Errorf("of what cannot be destroyed: %v", err)
	}
	w.rotate("user-pii")
	out, err := w.engine.DestroyVersion(t.Context(), w.owner(), id, "leaked", &two)
	if err != nil || out.Approval == nil {
		t.Fatalf("got %+v, %v", out, err)
	}
	a := out.Approval
	if a.Act != directory.ActDestroyKey || a.Resource != id || a.Reason != "leaked" || a.Required != 1 || a.State != directory.ApprovalPending {
		t.Errorf("asked for %+v", a)
	}
	if w.version(id).DestroyAt != 0 || w.audit.last.Load().Cause != "approval-asked" {
		t.Errorf("the version is %+v, recorded %+v", w.version(id), w.audit.last.Load())
	}
	at := time.Now().Add(48 * time.Hour).UnixMilli()
	w.propose(command.DecideApproval{Tenant: w.tenant, ID: a.ID, Decision: directory.Decision{User: approver, At: at, Approve: true}})
	if v := w.version(id); v.DestroyAt != at+2*24*time.Hour.Milliseconds() || v.Reason != "leaked" {
		t.Errorf("the version is %+v", v)
	}
	// To take it back needs nobody.
	if _, err := w.engine.CancelDestruction(t.Context(), w.owner(), id, ""); err != nil {
		t.Error(err)
	}
}

// TestScheduledVersionIsNotUsed from the moment of the decision on, and again after it was taken back.
func TestScheduledVersionIsNotUsed(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	id := w.activeKey("user-pii")
	w.rotate("user-pii")
	if _, err := w.engine.DestroyVersion(t.Context(), w.owner(), id, "r", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.decrypt("user-pii", frame, ""); !errors.Is(err, fault.DecryptFailed) || w.audit.last.Load().Cause != "key-state" {
		t.Errorf("while it waits: %v, %+v", err, w.audit.last.Load())
	}
	if _, err := w.engine.CancelDestruction(t.Context(), w.owner(), id, "still needed"); err != nil {
		t.Fatal(err)
	}
	if out, err := w.decrypt("user-pii", frame, ""); err != nil || string(out.Plaintext) != "secret" {
		t.Errorf("after it was taken back: %v", err)
	}
}

// TestKeysLeaveTheCaches at once on the node where that was decided, and with its next second on every other.
func TestKeysLeaveTheCaches(t *testing.T) {
	w := newWorld(t, noWait)
	signer := w.newKey(algs.Ed25519, keys.Host)
	pair := w.newKey(algs.MLKEM768, keys.Host)
	sent, err := w.engine.Encapsulate(t.Context(), w.call(), pair)
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string]func(context.Context) error{
		"context": func(context.Context) error { _, err := w.encrypt("user-pii", "x", ""); return err },
		signer: func(ctx context.Context) error {
			_, err := w.engine.Sign(ctx, w.call(), &engine.SignRequest{Key: signer, Message: []byte("m")})
			return err
		},
		pair: func(ctx context.Context) error {
			_, err := w.engine.Decapsulate(ctx, w.call(), engine.KeyUse{Key: pair}, sent.Ciphertext)
			return err
		},
	}
	id := func(name string) string {
		if name == "context" {
			return w.activeKey("user-pii")
		}
		return w.ledger.View().Tenant(w.tenant).Object(name).ActiveKey
	}
	acts := w.lifeActs(w.owner)
	for name, use := range uses {
		cached := func(when string, want int) {
			t.Helper()
			if n := w.engine.Cached(id(name)); n != want {
				t.Errorf("%s: %s: %d keys in memory", name, when, n)
			}
		}
		mustUse := func() {
			t.Helper()
			if err := use(t.Context()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			cached("used", 1)
		}
		mustUse()
		if err := acts["suspend"](id(name)); err != nil {
			t.Fatal(err)
		}
		cached("suspended", 0)
		if err := acts["resume"](id(name)); err != nil {
			t.Fatal(err)
		}
		mustUse()
		w.engine.Tend()
		cached("swept", 1)
		// As another node would decide it.
		w.propose(command.SetVersionState{Tenant: w.tenant, Key: id(name), State: keys.Suspended, At: 1})
		w.engine.Tend()
		cached("suspended elsewhere", 0)
		if err := acts["resume"](id(name)); err != nil {
			t.Fatal(err)
		}
		mustUse()
		if err := acts["compromise"](id(name)); err != nil {
			t.Fatal(err)
		}
		cached("compromised", 0)
		if err := acts["destroy"](id(name)); err != nil {
			t.Fatal(err)
		}
		if err := use(t.Context()); err == nil {
			t.Errorf("%s is used while it waits for its destruction", name)
		}
		cached("waiting", 0)
	}
}

// TestKeyBelowTheMinimumLeavesTheCaches, and serves again when the minimum is lowered.
func TestKeyBelowTheMinimumLeavesTheCaches(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	old := w.activeKey("user-pii")
	w.rotate("user-pii")
	for _, minimum := range []uint32{2, 0} {
		if err := w.engine.SetContextMinimum(t.Context(), w.owner(), "user-pii", minimum); err != nil {
			t.Fatal(err)
		}
		w.engine.Tend()
		_, err := w.decrypt("user-pii", frame, "")
		if minimum == 2 && (!errors.Is(err, fault.DecryptFailed) || w.engine.Cached(old) != 0) || minimum == 0 && err != nil {
			t.Errorf("with a minimum of %d: %v, %d keys in memory", minimum, err, w.engine.Cached(old))
		}
	}
}

// TestCompromisedKeyIsNotKept: whoever may still process with it does, and it does not stay in memory.
func TestCompromisedKeyIsNotKept(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	old := w.activeKey("user-pii")
	w.rotate("user-pii")
	if _, err := w.engine.CompromiseVersion(t.Context(), w.owner(), old, "found in a dump"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.decrypt("user-pii", frame, ""); !errors.Is(err, fault.DecryptFailed) {
		t.Errorf("without the permission: %v", err)
	}
	w.propose(command.ChangeApplication{Tenant: w.tenant, Application: w.app.ID, Before: w.app.Grants, Grants: []directory.Grant{
		{Context: "user-pii", Encrypt: true, Decrypt: true, Compromised: true},
	}})
	out, err := w.decrypt("user-pii", frame, "")
	if err != nil || string(out.Plaintext) != "secret" || w.engine.Cached(old) != 0 {
		t.Errorf("with the permission: %v, %d keys in memory", err, w.engine.Cached(old))
	}
	since := time.Now().Add(-time.Second)
	w.vault.down.Store(&since)
	defer w.vault.down.Store(nil)
	if _, err := w.decrypt("user-pii", frame, ""); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("without the token: %v", err)
	}
}

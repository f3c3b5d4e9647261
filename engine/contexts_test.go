package engine_test

import (
	"errors"
	"strings"
	"testing"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// layersOf returns the layers of a default context.
func layersOf(name string) *classify.Layers {
	for _, d := range classify.Defaults() {
		if d.Name == name {
			return &d.Layers
		}
	}
	panic(name)
}

func TestLayersChoose(t *testing.T) {
	days := func(n uint16) *uint16 { return &n }
	for _, mode := range []algs.Mode{algs.Disabled, algs.Enabled} {
		w := newWorld(t, func(c *engine.Config) { c.FIPS = mode })
		hybrid := algs.X25519MLKEM768AES256GCM
		if mode == algs.Enabled {
			hybrid = algs.P256MLKEM768AES256GCM
		}
		for name, c := range map[string]struct {
			spec      engine.ContextSpec
			algorithm algs.Name
			rotation  uint16
			bits      uint16
			safe      bool
			advice    int
		}{
			"classical":        {engine.ContextSpec{Layers: layersOf("payment-data")}, algs.AES256GCM, 30, 256, false, 0},
			"hybrid":           {engine.ContextSpec{Layers: layersOf("user-pii")}, hybrid, 30, 0, true, 0}, // whose encapsulation has 192 bits
			"weaker":           {engine.ContextSpec{Layers: layersOf("general")}, algs.AES128GCM, 180, 128, false, 0},
			"explicit":         {engine.ContextSpec{Layers: layersOf("user-pii"), Algorithm: algs.AES256GCM, RotationDays: days(0)}, algs.AES256GCM, 0, 256, true, 0},
			"explicit, weaker": {engine.ContextSpec{Layers: layersOf("user-pii"), Algorithm: algs.AES128GCM, RotationDays: days(7)}, algs.AES128GCM, 7, 0, false, 2},
			"explicit policy":  {engine.ContextSpec{Layers: layersOf("payment-data"), MinimumBits: 192}, algs.AES256GCM, 30, 192, false, 0},
			"no layers":        {engine.ContextSpec{}, algs.AES256GCM, 0, 0, false, 0},
		} {
			t.Run(mode.String()+"/"+name, func(t *testing.T) {
				spec := c.spec
				spec.Name = strings.NewReplacer(" ", "-", ",", "").Replace(name)
				record, err := w.engine.CreateContext(t.Context(), w.userCall(w.tenant, directory.Admin), spec)
				if err != nil {
					t.Fatal(err)
				}
				if record.Algorithm != c.algorithm || record.RotationDays != c.rotation || record.MinimumBits != c.bits ||
					record.QuantumSafe != c.safe || len(engine.ContextAdvice(record)) != c.advice {
					t.Errorf("got %+v, %v", record, engine.ContextAdvice(record))
				}
				detail, err := w.engine.Context(t.Context(), w.userCall(w.tenant, directory.Viewer), spec.Name)
				if err != nil || (detail.Derived == nil) != (spec.Layers == nil) || len(detail.Versions) != 1 || detail.Grants != 0 {
					t.Errorf("shown: %+v, %v", detail, err)
				}
			})
		}
	}
}

// TestDefaultContexts: each can be made, and a call in it works.
func TestDefaultContexts(t *testing.T) {
	w := newWorld(t)
	tenant := w.newTenant("fresh")
	var names []string
	for _, spec := range engine.DefaultContexts() {
		w.newContext(tenant, spec)
		names = append(names, spec.Name)
		if spec.SelfService != (spec.Name == "default" || spec.Name == "general") {
			t.Errorf("%s: self-service %v", spec.Name, spec.SelfService)
		}
	}
	app := w.newApplication(tenant, "app", names...)
	if len(names) != 11 {
		t.Errorf("contexts %v", names)
	}
	for _, name := range names {
		if _, err := w.engine.Encrypt(t.Context(), callOf(subject(app)), &engine.EncryptRequest{Context: name, Plaintext: []byte("p")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContextsAreChecked(t *testing.T) {
	w := newWorld(t)
	bad := *layersOf("general")
	bad.DataIdentity.Sensitivity = "secret"
	days := uint16(engine.MaxRotationDays + 1)
	for name, c := range map[string]struct {
		spec  engine.ContextSpec
		want  fault.Kind
		field string
	}{
		"layers":   {engine.ContextSpec{Layers: &bad}, fault.Malformed, "layers.data_identity.sensitivity"},
		"cipher":   {engine.ContextSpec{Ciphers: []string{"AES", "DES"}}, fault.Malformed, "algorithm_policy.allowed_ciphers"},
		"mode":     {engine.ContextSpec{Modes: []string{"xts"}}, fault.Malformed, "algorithm_policy.allowed_modes"},
		"rotation": {engine.ContextSpec{RotationDays: &days}, fault.Malformed, "rotation_days"},
		"itself":   {engine.ContextSpec{Ciphers: []string{"chacha20"}}, fault.AlgorithmDisallowed, ""},
	} {
		c.spec.Name = "new"
		_, err := w.engine.CreateContext(t.Context(), w.userCall(w.tenant, directory.Admin), c.spec)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Kind != c.want || c.field != "" && (len(f.Fields) != 1 || f.Fields[0].Name != c.field) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.engine.ExplainContext(t.Context(), w.userCall(w.tenant, directory.Viewer), &bad); !errors.Is(err, fault.Malformed) {
			t.Errorf("explained: %v", err)
		}
	}
}

func TestChangeContext(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	admin := func() *engine.Call { return w.userCall(w.tenant, directory.Admin) }
	old := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	detail, err := w.engine.ChangeContext(ctx, admin(), "user-pii", engine.ContextChange{ContextSpec: engine.ContextSpec{
		Description: "new", Enforcement: directory.EnforceWarn, Ciphers: []string{"aes", "AES"}, RotateAfter: 9, SelfService: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := detail.Record
	if len(detail.Versions) != 1 || r.Revision != 1 || r.Description != "new" || strings.Join(r.Ciphers, "") != "AES" || r.RotateAfter != 9 ||
		!r.SelfService || len(detail.Warnings) != 1 || !strings.Contains(detail.Warnings[0], "warn instead of enforce") || detail.Grants != 1 {
		t.Errorf("changed: %+v, %+v", detail, r)
	}
	if last := w.audit.last.Load(); last.Action != string(policy.ChangeContext) || last.Context != "user-pii" {
		t.Errorf("recorded %+v", last)
	}
	if _, err := w.engine.ChangeContext(ctx, admin(), "user-pii", engine.ContextChange{}); !errors.Is(err, fault.Conflict) {
		t.Errorf("based on an old revision: %v", err)
	}
	change := engine.ContextChange{Revision: 1, ContextSpec: engine.ContextSpec{Algorithm: algs.X25519MLKEM768AES256GCM}}
	if detail, err = w.engine.ChangeContext(ctx, admin(), "user-pii", change); err != nil || len(detail.Versions) != 2 ||
		detail.Version.Number != 2 || detail.Version.Algorithm != algs.X25519MLKEM768AES256GCM || detail.Versions[1].State != keys.Deactivated {
		t.Fatalf("another algorithm: %+v, %v", detail, err)
	}
	if got := w.mustEncrypt("user-pii", "secret", ""); got.Algorithm != string(algs.X25519MLKEM768AES256GCM) || len(got.Warnings) != 0 {
		t.Errorf("encrypted with %s, %q", got.Algorithm, got.Warnings)
	}
	if out, err := w.decrypt("user-pii", old, ""); err != nil || string(out.Plaintext) != "secret" || !out.Rewrap {
		t.Errorf("what is old: %v", err)
	}
	for name, c := range map[string]struct {
		call    *engine.Call
		context string
		change  engine.ContextChange
		want    fault.Kind
	}{
		"unknown":        {admin(), "nowhere", engine.ContextChange{}, fault.NotFound},
		"name":           {admin(), "No Name", engine.ContextChange{}, fault.Malformed},
		"another tenant": {w.userCall(w.newTenant("second"), directory.Owner), "user-pii", engine.ContextChange{Revision: 2}, fault.NotFound},
		"a developer":    {w.userCall(w.tenant, directory.Developer), "user-pii", engine.ContextChange{Revision: 2}, fault.Forbidden},
		"an application": {w.call(), "user-pii", engine.ContextChange{Revision: 2}, fault.Forbidden},
		"format":         {admin(), "user-pii", engine.ContextChange{Revision: 2, ContextSpec: engine.ContextSpec{Format: 3}}, fault.Malformed},
		"algorithm":      {admin(), "user-pii", engine.ContextChange{Revision: 2, ContextSpec: engine.ContextSpec{Algorithm: "DES"}}, fault.Malformed},
	} {
		if _, err := w.engine.ChangeContext(ctx, c.call, c.context, c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContextEnds(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	admin := func() *engine.Call { return w.userCall(w.tenant, directory.Admin) }
	w.mustEncrypt("user-pii", "p", "")
	if detail, err := w.engine.SetContextDisabled(ctx, admin(), "user-pii", true); err != nil || detail.Record.Status != directory.Disabled {
		t.Fatalf("%+v, %v", detail, err)
	}
	if _, err := w.encrypt("user-pii", "p", ""); !errors.Is(err, fault.Forbidden) {
		t.Errorf("disabled: %v", err)
	}
	if _, err := w.engine.SetContextDisabled(ctx, admin(), "user-pii", false); err != nil {
		t.Fatal(err)
	}
	w.mustEncrypt("user-pii", "p", "")
	for name, want := range map[string]fault.Kind{"user-pii": fault.Conflict, "closed": fault.Conflict, "nowhere": fault.NotFound} {
		if err := w.engine.DeleteContext(ctx, admin(), name); !errors.Is(err, want) {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	if err := w.engine.DeleteContext(ctx, w.userCall(w.tenant, directory.Developer), "closed"); !errors.Is(err, fault.Forbidden) {
		t.Errorf("a developer: %v", err)
	}
	v := w.ledger.Node.View().Tenant(w.tenant).Context("closed").ActiveKey
	at := w.now().UnixMilli()
	w.propose(command.SetVersionState{Tenant: w.tenant, Key: v, State: keys.Compromised, At: at})
	w.propose(command.ScheduleDestruction{Tenant: w.tenant, Key: v, At: at, Reason: "test"})
	w.propose(command.DestroyVersion{Tenant: w.tenant, Key: v, At: at})
	if err := w.engine.DeleteContext(ctx, admin(), "closed"); err != nil {
		t.Errorf("an empty context: %v", err)
	}
	if _, err := w.engine.Context(ctx, admin(), "closed"); !errors.Is(err, fault.NotFound) {
		t.Errorf("it is there: %v", err)
	}
}

// TestContextIsShown to those who may use it.
func TestContextIsShown(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		call    *engine.Call
		context string
		want    fault.Kind
		grants  int
	}{
		"a viewer":       {w.userCall(w.tenant, directory.Viewer), "user-pii", fault.Unknown, 1},
		"an application": {w.call(), "user-pii", fault.Unknown, -1},
		"not granted":    {w.call(), "closed", fault.NotFound, 0},
		"unknown":        {w.call(), "nowhere", fault.NotFound, 0},
		"no name":        {w.call(), "..", fault.Malformed, 0},
		"another tenant": {w.userCall(w.newTenant("second"), directory.Owner), "user-pii", fault.NotFound, 0},
		"nobody":         {&engine.Call{}, "user-pii", fault.Unauthenticated, 0},
	} {
		got, err := w.engine.Context(t.Context(), c.call, c.context)
		if fault.Of(err) != c.want || got.Grants != c.grants {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

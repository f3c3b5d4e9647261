package engine_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/rules"
)

// rule has an administrator make a policy, or replace it.
func (w *world) rule(spec engine.PolicySpec) {
	w.t.Helper()
	if spec.Name == "" {
		spec.Name = "p"
	}
	admin := w.userCall(w.tenant, directory.Admin)
	_, err := w.engine.CreatePolicy(w.t.Context(), admin, spec)
	if errors.Is(err, fault.Conflict) {
		_, err = w.engine.ChangePolicy(w.t.Context(), w.userCall(w.tenant, directory.Admin), spec)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) dropRule(name string) {
	w.t.Helper()
	if err := w.engine.DeletePolicy(w.t.Context(), w.userCall(w.tenant, directory.Admin), name); err != nil {
		w.t.Fatal(err)
	}
}

// keyUses are the use cases that policies decide on.
func (w *world) keyUses() []useCase {
	var list []useCase
	for _, u := range w.useCases(w.t, subject(w.app)) {
		if !u.free && u.name != "read a key" {
			list = append(list, u)
		}
	}
	frame := w.mustEncrypt("user-pii", "p", "").Ciphertext
	return append(list, useCase{name: "encrypt", protects: true, run: func() (any, error) {
		out, err := w.encrypt("user-pii", "p", "")
		if out.Ciphertext == nil {
			return nil, err
		}
		return out, err
	}}, useCase{name: "decrypt", process: true, run: func() (any, error) {
		out, err := w.decrypt("user-pii", frame, "")
		if out.Plaintext == nil {
			return nil, err
		}
		return out, err
	}})
}

// broken is a rule without an answer: contexts here have no frameworks.
const broken = "context.frameworks[7] == 'HIPAA'"

// TestPoliciesDecideEveryUseOfAKey meets each use of a key with a policy of each kind, in force before it and since its work.
func TestPoliciesDecideEveryUseOfAKey(t *testing.T) {
	w, l := newShiftingWorld(t)
	uses := w.keyUses()
	if len(uses) < 18 {
		t.Fatalf("%d uses of keys", len(uses))
	}
	for _, u := range uses {
		for name, c := range map[string]struct {
			spec  directory.Policy
			want  fault.Kind
			names string
		}{
			"enforced":                 {directory.Policy{Expression: "false"}, fault.Forbidden, "p"},
			"enforced by size":         {directory.Policy{Expression: "data.size > 1000000"}, fault.Forbidden, "p"},
			"enforced, without answer": {directory.Policy{Expression: broken}, fault.Forbidden, "p"},
			"enforced, no rule here":   {directory.Policy{Expression: "from the future"}, fault.Forbidden, "p"},
			"warned of":                {directory.Policy{Expression: "false", Enforcement: directory.EnforceWarn}, fault.Unknown, "p"},
			"warned of, no answer":     {directory.Policy{Expression: broken, Enforcement: directory.EnforceWarn}, fault.Unknown, "p"},
			"noted":                    {directory.Policy{Expression: "data.size < 0", Enforcement: directory.EnforceNone}, fault.Unknown, "p"},
			"noted, no rule here":      {directory.Policy{Expression: "(", Enforcement: directory.EnforceNone}, fault.Unknown, "p"},
			"met":                      {directory.Policy{Expression: "identity.name == 'demo' && context.name == 'user-pii'"}, fault.Unknown, ""},
			"of another context":       {directory.Policy{Expression: "false", Contexts: []string{"legacy"}}, fault.Unknown, ""},
			"disabled":                 {directory.Policy{Expression: "false", Status: directory.Disabled}, fault.Unknown, ""},
		} {
			for _, when := range []moment{early, late} {
				t.Run(u.name+"/"+name+"/"+string(when), func(t *testing.T) {
					p := c.spec
					p.Tenant, p.Name, p.Message = w.tenant, "p", "not so"
					if p.Status == 0 {
						p.Status = directory.Enabled
					}
					change := edits{policies: func([]*directory.Policy) []*directory.Policy { return []*directory.Policy{&p} }}
					l.shift(&change, when)
					out, err := u.run()
					l.restore()
					r := w.audit.last.Load()
					if fault.Of(err) != c.want || (out == nil) != (c.want != fault.Unknown) || r.Policies != c.names {
						t.Fatalf("got %v, %v, policies %q", out, err, r.Policies)
					}
					if f, ok := errors.AsType[*fault.Error](err); err != nil && (!ok || f.Detail != "policy p: not so" || r.Cause != "policy" || r.Result != audit.Denied) {
						t.Errorf("the detail is %v, recorded %+v", err, r)
					}
				})
			}
		}
	}
}

// TestPolicyWarnings: what a policy warns of stands in the answer.
func TestPolicyWarnings(t *testing.T) {
	w := newWorld(t)
	w.rule(engine.PolicySpec{Name: "fixed", Expression: "false", Message: "one", Enforcement: directory.EnforceWarn})
	w.rule(engine.PolicySpec{Name: "sized", Expression: "data.size > 5", Enforcement: directory.EnforceWarn})
	got := w.mustEncrypt("user-pii", "p", "")
	if want := "policy fixed: one|policy sized"; strings.Join(got.Warnings, "|") != want {
		t.Errorf("warnings %q", got.Warnings)
	}
	if r := w.audit.last.Load(); r.Policies != "fixed,sized" || r.Result != audit.Success {
		t.Errorf("recorded %+v", r)
	}
	batch, err := w.engine.EncryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "user-pii", Items: items("a", "long enough")})
	if err != nil || strings.Join(batch.Warnings, "|") != "policy fixed: one|policy sized" {
		t.Errorf("batch: %q, %v", batch.Warnings, err)
	}
}

// TestPolicyIsHot: a policy counts from the call after it was saved, in its own tenant only, until it is deleted.
func TestPolicyIsHot(t *testing.T) {
	w := newWorld(t)
	other := w.newTenant("second")
	w.newContext(other, engine.ContextSpec{Name: "user-pii"})
	neighbour := w.newApplication(other, "neighbour", "user-pii")
	encrypt := func(app *directory.Application, context string) error {
		_, err := w.engine.Encrypt(t.Context(), callOf(subject(app)), &engine.EncryptRequest{Context: context, Plaintext: []byte("p")})
		return err
	}
	for range 3 { // the plans of before are there the second time
		if err := encrypt(w.app, "user-pii"); err != nil {
			t.Fatal(err)
		}
		w.rule(engine.PolicySpec{Expression: "context.name != 'user-pii'"})
		if err := encrypt(w.app, "user-pii"); !errors.Is(err, fault.Forbidden) {
			t.Errorf("after it was saved: %v", err)
		}
		if err := encrypt(w.app, "payment-data"); err != nil {
			t.Errorf("in another context: %v", err)
		}
		if err := encrypt(neighbour, "user-pii"); err != nil {
			t.Errorf("in another tenant: %v", err)
		}
		w.rule(engine.PolicySpec{Expression: "context.name != 'user-pii'", Operations: []string{"process", "crypto.sign"}})
		if err := encrypt(w.app, "user-pii"); err != nil {
			t.Errorf("for other operations: %v", err)
		}
		w.rule(engine.PolicySpec{Expression: "operation != 'encrypt'", Operations: []string{"crypto.encrypt"}})
		if err := encrypt(w.app, "user-pii"); !errors.Is(err, fault.Forbidden) {
			t.Errorf("for this operation: %v", err)
		}
		w.dropRule("p")
	}
}

// TestGrantsBetweenCalls: with policies in force a context that is granted and taken counts for the next call.
func TestGrantsBetweenCalls(t *testing.T) {
	w := newWorld(t)
	w.rule(engine.PolicySpec{Expression: "identity.team == 'blue' || context.name != 'closed'"})
	set := func(team string, contexts ...string) {
		t.Helper()
		var grants []directory.Grant
		for _, name := range contexts {
			grants = append(grants, directory.Grant{Context: name, Encrypt: true})
		}
		w.propose(command.ChangeApplication{
			Tenant: w.tenant, Application: w.app.ID, Team: team, Grants: grants,
			Before: w.ledger.Node.View().Application(w.app.ID).Grants,
		})
	}
	for i, step := range []struct {
		team     string
		contexts []string
		want     fault.Kind
	}{
		{"red", nil, fault.Forbidden},
		{"red", []string{"closed"}, fault.Forbidden}, // by the policy
		{"blue", []string{"closed"}, fault.Unknown},
		{"blue", nil, fault.Forbidden},
		{"blue", []string{"closed"}, fault.Unknown},
	} {
		set(step.team, step.contexts...)
		if _, err := w.encrypt("closed", "p", ""); fault.Of(err) != step.want {
			t.Errorf("step %d: %v", i, err)
		}
	}
}

// TestPoliciesSeeSizes: each item of a batch and each stream is as large as it is, not as it was announced.
func TestPoliciesSeeSizes(t *testing.T) {
	w := newWorld(t)
	long := pattern(200_000)
	frame := w.encryptStream("user-pii", long, "")
	small, large := w.mustEncrypt("user-pii", "12345", "").Ciphertext, w.mustEncrypt("user-pii", strings.Repeat("x", 2000), "").Ciphertext
	w.rule(engine.PolicySpec{Expression: "data.size <= 1000"})
	if _, err := w.encrypt("user-pii", strings.Repeat("x", 1000), ""); err != nil {
		t.Error(err)
	}
	if _, err := w.encrypt("user-pii", strings.Repeat("x", 1001), ""); !errors.Is(err, fault.Forbidden) {
		t.Errorf("too large: %v", err)
	}
	for name, run := range map[string]func() (engine.BatchResult, error){
		"encrypt": func() (engine.BatchResult, error) {
			return w.engine.EncryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "user-pii", Items: items("a", strings.Repeat("x", 1001))})
		},
		"decrypt": func() (engine.BatchResult, error) {
			return w.engine.DecryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "user-pii", Items: items(string(small), string(large))})
		},
		"rewrap": func() (engine.BatchResult, error) {
			return w.engine.RewrapBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "user-pii", Items: items(string(small), string(large))})
		},
	} {
		out, err := run()
		if err != nil || out.Items[0].Err != nil || !errors.Is(out.Items[1].Err, fault.Forbidden) || len(out.Items[1].Data) != 0 {
			t.Errorf("%s a batch: %+v, %v", name, out.Items, err)
		}
		if r := w.audit.last.Load(); r.Items[1].Cause != "policy" || r.Items[0].Code != "" || r.Policies != "p" {
			t.Errorf("%s a batch: recorded %+v", name, r)
		}
	}
	for _, length := range []int64{-1, 200_000, 10} {
		var out bytes.Buffer
		var info engine.StreamInfo
		in := &engine.StreamRequest{Context: "user-pii", Length: length}
		err := w.engine.EncryptStream(t.Context(), w.call(), in, bytes.NewReader(long), into(&out, &info))
		if !errors.Is(err, fault.Forbidden) || length == 200_000 && out.Len() != 0 {
			t.Errorf("a stream announced with %d bytes: %v, %d bytes came", length, err, out.Len())
		}
		if r := w.audit.last.Load(); r.Policies != "p" || r.Cause != "policy" {
			t.Errorf("a stream announced with %d bytes: recorded %+v", length, r)
		}
		if got, _, err := w.decryptStream(&engine.StreamRequest{Context: "user-pii"}, out.Bytes()); err == nil {
			t.Errorf("what was refused is whole: %d bytes", len(got))
		}
	}
	var out bytes.Buffer
	var info engine.StreamInfo
	in := &engine.StreamRequest{Context: "user-pii", Length: -1}
	if err := w.engine.DecryptStream(t.Context(), w.call(), in, bytes.NewReader(frame), into(&out, &info)); !errors.Is(err, fault.Forbidden) {
		t.Errorf("decrypt a stream of unknown length: %v", err)
	}
	in = &engine.StreamRequest{Context: "user-pii", Length: -1}
	out.Reset()
	if err := w.engine.EncryptStream(t.Context(), w.call(), in, bytes.NewReader([]byte("short")), into(&out, &info)); err != nil {
		t.Errorf("a short stream of unknown length: %v", err)
	}
	w.rule(engine.PolicySpec{Expression: "data.size > 3"})
	out.Reset()
	if err := w.engine.EncryptStream(t.Context(), w.call(), in, bytes.NewReader([]byte("short")), into(&out, &info)); err != nil {
		t.Errorf("a size that is not known yet must not count as one: %v", err)
	}
}

// TestPoliciesSeeTheAlgorithmInUse, whatever the context's own is, and a rewrap processes the old and protects with the new.
func TestPoliciesSeeTheAlgorithmInUse(t *testing.T) {
	w := newWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "mixed", Ciphers: []string{"aes"}})
	app := w.newApplication(w.tenant, "mixed", "mixed")
	call := func() *engine.Call { return callOf(subject(app)) }
	in := engine.EncryptRequest{Context: "mixed", Plaintext: []byte("p"), Algorithm: "AES-256-CBC"}
	old, err := w.engine.Encrypt(t.Context(), call(), &in)
	if err != nil {
		t.Fatal(err)
	}
	decrypt := func(frame []byte) error {
		_, err := w.engine.Decrypt(t.Context(), call(), &engine.DecryptRequest{Context: "mixed", Ciphertext: frame})
		return err
	}
	rewrap := func() error {
		_, err := w.engine.Rewrap(t.Context(), call(), &engine.RewrapRequest{Context: "mixed", Ciphertext: old.Ciphertext})
		return err
	}
	w.rule(engine.PolicySpec{Expression: "operation_class == 'process' || algorithm.mode == 'gcm'"})
	if _, err := w.engine.Encrypt(t.Context(), call(), &in); !errors.Is(err, fault.Forbidden) {
		t.Errorf("protecting with CBC: %v", err)
	}
	if err := errors.Join(decrypt(old.Ciphertext), rewrap()); err != nil {
		t.Errorf("what is there must stay readable: %v", err)
	}
	w.rule(engine.PolicySpec{Expression: "operation_class == 'protect' || algorithm.mode == 'gcm'"})
	if err := decrypt(old.Ciphertext); !errors.Is(err, fault.Forbidden) {
		t.Errorf("processing CBC: %v", err)
	}
	if err := rewrap(); !errors.Is(err, fault.Forbidden) {
		t.Errorf("rewrapping CBC: %v", err)
	}
	if _, err := w.engine.Encrypt(t.Context(), call(), &in); err != nil {
		t.Errorf("protecting with CBC: %v", err)
	}
}

// TestPolicyTellsNothingOfKeys: a refusal is the same whether the key of a frame is there or not.
func TestPolicyTellsNothingOfKeys(t *testing.T) {
	w := newWorld(t)
	pii := w.mustEncrypt("user-pii", "secret", "")
	unknown := reheader(t, pii.Ciphertext, pii.KeyID, "key_user-pii_0000000000000000")
	damaged := bytes.Clone(pii.Ciphertext)
	damaged[len(damaged)-1] ^= 1
	w.rule(engine.PolicySpec{Expression: "operation != 'decrypt'"})
	var first string
	for _, frame := range [][]byte{pii.Ciphertext, unknown, damaged} {
		_, err := w.decrypt("user-pii", frame, "")
		if !errors.Is(err, fault.Forbidden) {
			t.Fatal(err)
		}
		if first == "" {
			first = err.Error()
		}
		if r := w.audit.last.Load(); err.Error() != first || r.KeyID != "" {
			t.Errorf("%v, recorded %+v", err, r)
		}
	}
}

// TestPoliciesAreChecked sends policies that cannot be.
func TestPoliciesAreChecked(t *testing.T) {
	w := newWorld(t)
	bomb := strings.Repeat("[1,2,3,4,5,6,7,8,9].all(x, ", 9) + "true" + strings.Repeat(")", 9)
	for name, c := range map[string]struct {
		edit  func(*engine.PolicySpec)
		field string
	}{
		"syntax":          {func(p *engine.PolicySpec) { p.Expression = "algorithm.key_bits >=" }, "expression"},
		"unknown name":    {func(p *engine.PolicySpec) { p.Expression = "algorithm.key_bit >= 1" }, "expression"},
		"no bool":         {func(p *engine.PolicySpec) { p.Expression = "1" }, "expression"},
		"types":           {func(p *engine.PolicySpec) { p.Expression = "context.name > 1" }, "expression"},
		"empty":           {func(p *engine.PolicySpec) { p.Expression = "" }, "expression"},
		"nested loops":    {func(p *engine.PolicySpec) { p.Expression = bomb }, "expression"},
		"too long":        {func(p *engine.PolicySpec) { p.Expression = "true" + strings.Repeat(" ", rules.MaxBytes) }, "expression"},
		"unknown context": {func(p *engine.PolicySpec) { p.Contexts = []string{"user-pii", "nowhere"} }, "contexts"},
		"no operation":    {func(p *engine.PolicySpec) { p.Operations = []string{"context.create"} }, "operations"},
		"short operation": {func(p *engine.PolicySpec) { p.Operations = []string{"encrypt"} }, "operations"},
		"two lines":       {func(p *engine.PolicySpec) { p.Message = "a\r\nSet-Cookie: b" }, "message"},
		"name":            {func(p *engine.PolicySpec) { p.Name = "Not So" }, ""},
		"enforcement":     {func(p *engine.PolicySpec) { p.Enforcement = 9 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := engine.PolicySpec{Name: "p", Expression: "true"}
			c.edit(&spec)
			writes := w.ledger.writes.Load()
			_, err := w.engine.CreatePolicy(t.Context(), w.userCall(w.tenant, directory.Owner), spec)
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Kind != fault.Malformed || c.field != "" && (len(f.Fields) != 1 || f.Fields[0].Name != c.field) {
				t.Fatalf("got %v", err)
			}
			if c.field == "expression" && name == "unknown name" && !strings.Contains(f.Fields[0].Detail, "1:") {
				t.Errorf("the detail does not say where: %s", f.Fields[0].Detail)
			}
			if n := w.ledger.writes.Load() - writes; n > 2 { // the user and the session of the test itself
				t.Errorf("%d writes", n)
			}
		})
	}
}

// TestPolicyRights: who may do what with policies, and that those of other tenants do not exist.
func TestPolicyRights(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	other := w.newTenant("second")
	w.rule(engine.PolicySpec{Name: "mine", Expression: "true"})
	trial := &engine.PolicyTrial{Context: "user-pii", Operation: "crypto.encrypt"}
	spec := engine.PolicySpec{Name: "mine", Expression: "true"}
	for _, role := range directory.Roles {
		for action, run := range map[policy.Action]func(c *engine.Call) error{
			policy.ListPolicies: func(c *engine.Call) error { _, err := w.engine.Policies(ctx, c); return err },
			policy.ReadPolicy:   func(c *engine.Call) error { _, err := w.engine.Policy(ctx, c, "mine"); return err },
			policy.TestPolicy:   func(c *engine.Call) error { _, err := w.engine.TestPolicy(ctx, c, trial); return err },
			policy.ChangePolicy: func(c *engine.Call) error { _, err := w.engine.ChangePolicy(ctx, c, spec); return err },
			policy.CreatePolicy: func(c *engine.Call) error {
				_, err := w.engine.CreatePolicy(ctx, c, engine.PolicySpec{Name: "new-" + string(role), Expression: "true"})
				return err
			},
			policy.DeletePolicy: func(c *engine.Call) error {
				if err := w.engine.DeletePolicy(ctx, c, "nothing"); !errors.Is(err, fault.NotFound) {
					return err
				}
				return nil
			},
			policy.ExplainContext: func(c *engine.Call) error {
				_, err := w.engine.ExplainContext(ctx, c, engine.DefaultContexts()[0].Layers)
				return err
			},
		} {
			err := run(w.userCall(w.tenant, role))
			if may := policy.UserMay([]directory.Role{role}, action); may != (err == nil) || !may && !errors.Is(err, fault.Forbidden) {
				t.Errorf("%s, %s: %v", role, action, err)
			}
			if r := w.audit.last.Load(); r.Action != string(action) || err != nil && r.Result != audit.Denied {
				t.Errorf("%s, %s: recorded %+v", role, action, r)
			}
		}
	}
	stranger := func() *engine.Call { return w.userCall(other, directory.Owner) }
	if _, err := w.engine.Policy(ctx, stranger(), "mine"); !errors.Is(err, fault.NotFound) {
		t.Errorf("read: %v", err)
	}
	if _, err := w.engine.ChangePolicy(ctx, stranger(), spec); !errors.Is(err, fault.NotFound) {
		t.Errorf("change: %v", err)
	}
	if err := w.engine.DeletePolicy(ctx, stranger(), "mine"); !errors.Is(err, fault.NotFound) {
		t.Errorf("delete: %v", err)
	}
	if list, err := w.engine.Policies(ctx, stranger()); err != nil || len(list) != 0 {
		t.Errorf("list: %v, %v", list, err)
	}
	if _, err := w.engine.Policies(ctx, w.call()); !errors.Is(err, fault.Forbidden) {
		t.Errorf("an application lists: %v", err)
	}
}

// TestPolicyTrial compares what a trial says with what becomes of the operation.
func TestPolicyTrial(t *testing.T) {
	w := newWorld(t)
	w.rule(engine.PolicySpec{Name: "small", Expression: "data.size <= 10", Message: "too large"})
	w.rule(engine.PolicySpec{Name: "soft", Expression: broken, Enforcement: directory.EnforceWarn})
	w.rule(engine.PolicySpec{Name: "elsewhere", Expression: "false", Contexts: []string{"legacy"}})
	try := func(in engine.PolicyTrial) (engine.PolicyVerdict, error) {
		return w.engine.TestPolicy(t.Context(), w.userCall(w.tenant, directory.Viewer), &in)
	}
	for size, allowed := range map[int]bool{10: true, 11: false} {
		got, err := try(engine.PolicyTrial{Context: "user-pii", Operation: "crypto.encrypt", Application: w.app.ID, Bytes: size})
		_, really := w.encrypt("user-pii", strings.Repeat("x", size), "")
		if err != nil || got.Allowed != allowed || (really == nil) != allowed || got.Algorithm != "AES-256-GCM" || len(got.Decisions) != 2 {
			t.Fatalf("%d bytes: %+v, %v; really %v", size, got, err, really)
		}
		soft, small := got.Decisions[0], got.Decisions[1] // what never changes is decided first
		if small.Policy != "small" || small.Met != allowed || (small.Message == "") != allowed ||
			soft.Policy != "soft" || soft.Met || soft.Error == "" || strings.Join(got.Warnings, "") != "policy soft" {
			t.Errorf("%d bytes: %+v", size, got)
		}
	}
	for name, c := range map[string]struct {
		in      engine.PolicyTrial
		allowed bool
		reason  string
	}{
		"a rule to try":     {engine.PolicyTrial{Context: "payment-data", Operation: "crypto.encrypt", Expression: "context.name != 'payment-data'"}, false, ""},
		"not granted":       {engine.PolicyTrial{Context: "closed", Operation: "crypto.decrypt", Application: w.app.ID}, false, "granted"},
		"another algorithm": {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.encrypt", Algorithm: "AES-128-GCM"}, false, "does not allow"},
		"reads another":     {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.decrypt", Algorithm: "AES-128-GCM"}, true, ""},
		"a stream":          {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.encrypt-stream"}, true, ""},
		"no stream":         {engine.PolicyTrial{Context: "legacy", Operation: "crypto.encrypt-stream"}, false, "streams need"},
		"a key":             {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.sign", Algorithm: "Ed25519"}, true, ""},
		"elsewhere":         {engine.PolicyTrial{Context: "legacy", Operation: "crypto.encrypt"}, false, ""},
	} {
		got, err := try(c.in)
		if err != nil || got.Allowed != c.allowed || !strings.Contains(got.Reason, c.reason) || (c.reason == "") != (got.Reason == "") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, c := range map[string]struct {
		in   engine.PolicyTrial
		want fault.Kind
	}{
		"operation":   {engine.PolicyTrial{Context: "user-pii", Operation: "context.create"}, fault.Malformed},
		"algorithm":   {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.encrypt", Algorithm: "DES"}, fault.Malformed},
		"of a key":    {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.encrypt", Algorithm: "Ed25519"}, fault.Malformed},
		"none":        {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.sign"}, fault.Malformed},
		"expression":  {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.encrypt", Expression: "1"}, fault.Malformed},
		"size":        {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.encrypt", Bytes: -1}, fault.Malformed},
		"context":     {engine.PolicyTrial{Context: "nowhere", Operation: "crypto.encrypt"}, fault.NotFound},
		"application": {engine.PolicyTrial{Context: "user-pii", Operation: "crypto.encrypt", Application: "app_x"}, fault.NotFound},
	} {
		if _, err := try(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDefaultPolicies: all of them can be saved, and none stands in the way of a plain context.
func TestDefaultPolicies(t *testing.T) {
	w := newWorld(t)
	list, err := w.engine.DefaultPolicies(t.Context(), w.userCall(w.tenant, directory.Viewer))
	if err != nil || len(list) != 7 {
		t.Fatalf("%d defaults, %v", len(list), err)
	}
	for _, spec := range list {
		w.rule(spec)
	}
	w.mustEncrypt("user-pii", "p", "")
	if r := w.audit.last.Load(); r.Policies != "" {
		t.Errorf("not met: %s", r.Policies)
	}
	admin := w.userCall(w.tenant, directory.Admin)
	spec := list[0]
	spec.Enforcement, spec.Disabled = directory.EnforceWarn, true
	info, err := w.engine.ChangePolicy(t.Context(), admin, spec)
	if err != nil || len(info.Warnings) != 2 || !strings.Contains(info.Warnings[0], "warn instead of enforce") {
		t.Errorf("weakened: %+v, %v", info, err)
	}
	if stored := w.ledger.Node.View().Tenant(w.tenant).Policy(spec.Name); stored.Status != directory.Disabled || stored.CreatedAt == 0 {
		t.Errorf("stored: %+v", stored)
	}
}

// TestRulesSeeRows: rules and algorithm policies name ciphers and modes alike.
func TestRulesSeeRows(t *testing.T) {
	for _, row := range algs.Rows() {
		if a := rules.AlgorithmOf(row); a.Cipher != row.Cipher() || a.Mode != row.Mode() {
			t.Errorf("%s: rules see %s, %s", row.Name, a.Cipher, a.Mode)
		}
	}
}

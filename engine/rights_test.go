package engine_test

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// user makes a user of the world's tenant with a session, and returns the subject that the session stands for.
func (w *world) user(role directory.Role) *policy.Subject {
	w.t.Helper()
	u, err := w.engine.CreateUser(w.t.Context(), w.appliance(w.tenant), string(role), []directory.Role{role})
	if err != nil {
		w.t.Fatal(err)
	}
	session := directory.Session{
		User: u.ID, Tenant: w.tenant, CreatedAt: time.Now().UnixMilli(), ExpiresAt: time.Now().Add(time.Hour).UnixMilli(),
	}
	rand.Read(session.Hash[:])
	if err := w.engine.StartSession(w.t.Context(), w.appliance(w.tenant), session); err != nil {
		w.t.Fatal(err)
	}
	s := w.engine.SessionSubject(session.Hash)
	if s == nil {
		w.t.Fatal("the session stands for nobody")
	}
	return s
}

// family starts a family of refresh tokens for an application, the first with the given hash.
func (w *world) family(app *directory.Application, id string, hash [32]byte) directory.RefreshFamily {
	return directory.RefreshFamily{
		ID: id, Tenant: app.Tenant, Application: app.ID, Hash: hash,
		CreatedAt: time.Now().UnixMilli(), ExpiresAt: time.Now().Add(time.Hour).UnixMilli(),
	}
}

// operations carries out use cases with subjects and buffers that stay the same, so that what the engine remembers of one
// run is there in the next.
type operations struct {
	*world
	application *policy.Subject
	owner       *policy.Subject
	frame       []byte
	refresh     byte // first byte of the hash of the newest refresh token
	dst         []byte
}

func newOperations(w *world) *operations {
	o := &operations{world: w, application: subject(w.app), owner: w.user(directory.Owner), dst: make([]byte, 0, 64)}
	o.frame = w.mustEncrypt("user-pii", "secret", "").Ciphertext
	if err := w.engine.StartRefresh(w.t.Context(), w.appliance(w.tenant), w.family(w.app, "fam_1", [32]byte{1})); err != nil {
		w.t.Fatal(err)
	}
	o.refresh = 1
	return o
}

func (o *operations) encryptOnce(t *testing.T) error {
	out, err := o.engine.Encrypt(t.Context(), callOf(o.application), &engine.EncryptRequest{Context: "user-pii", Plaintext: []byte("secret")})
	if (err == nil) != (out.Ciphertext != nil) {
		t.Errorf("a frame of %d bytes with %v", len(out.Ciphertext), err)
	}
	return err
}

// decryptOnce also looks into the caller's buffer, in which no plaintext may stay behind.
func (o *operations) decryptOnce(t *testing.T) error {
	clear(o.dst[:cap(o.dst)])
	out, err := o.engine.Decrypt(t.Context(), callOf(o.application), &engine.DecryptRequest{Context: "user-pii", Ciphertext: o.frame, Dst: o.dst})
	inBuffer := bytes.HasPrefix(o.dst[:cap(o.dst)], []byte("secret"))
	if (err == nil) != (string(out.Plaintext) == "secret") || (err == nil) != inBuffer {
		t.Errorf("plaintext of %d bytes, in the buffer: %v, with %v", len(out.Plaintext), inBuffer, err)
	}
	return err
}

func (o *operations) contextsOf(s *policy.Subject) func(t *testing.T) error {
	return func(t *testing.T) error {
		list, err := o.engine.Contexts(t.Context(), callOf(s))
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d contexts with %v", len(list), err)
		}
		return err
	}
}

func (o *operations) rotateOnce(t *testing.T) error {
	_, err := o.engine.RotateContext(t.Context(), callOf(o.owner), "payment-data")
	return err
}

func (o *operations) refreshOnce(t *testing.T) error {
	err := o.engine.RotateRefresh(t.Context(), callOf(nil), engine.RefreshRotation{
		Family: "fam_1", Presented: [32]byte{o.refresh}, Next: [32]byte{o.refresh + 1}, ExpiresAt: time.Now().Add(time.Hour),
	})
	if err == nil {
		o.refresh++
	}
	return err
}

func (o *operations) sessionOnce(*testing.T) error {
	if o.engine.SessionSubject(o.owner.Session) == nil {
		return fault.New(fault.Unauthenticated, "test", "the session stands for nobody")
	}
	return nil
}

func (o *operations) signerOnce(t *testing.T) error {
	_, _, err := o.engine.AccessSigner(t.Context(), o.app.ID)
	return err
}

// TestInvariant04EveryRightLost takes each right away, before each use case looks at the records and between its early look
// and the one after its work. A use case that the right is not for must still be allowed.
func TestInvariant04EveryRightLost(t *testing.T) {
	w, l := newShiftingWorld(t)
	o := newOperations(w)
	const gone, forbidden = fault.Unauthenticated, fault.Forbidden
	useCases := []struct {
		name    string
		run     func(*testing.T) error
		moments []moment
	}{
		{"encrypt", o.encryptOnce, []moment{early, late}},
		{"decrypt", o.decryptOnce, []moment{early, late}},
		// The work of the others is done before or by what they look at, so there is one look.
		{"contexts of an application", o.contextsOf(o.application), []moment{early}},
		{"contexts of a user", o.contextsOf(o.owner), []moment{early}},
		{"rotate", o.rotateOnce, []moment{early}},
		{"refresh", o.refreshOnce, []moment{early}},
		{"session", o.sessionOnce, []moment{early}},
		{"signer", o.signerOnce, []moment{early}},
	}
	rights := []struct {
		name  string
		edits edits
		want  map[string]fault.Kind // by use case; what is absent stays allowed
	}{
		{
			"tenant disabled",
			edits{tenant: func(r *directory.Tenant) { r.Status = directory.Disabled }},
			map[string]fault.Kind{
				"encrypt": gone, "decrypt": gone, "contexts of an application": gone, "contexts of a user": gone, "rotate": gone,
				"refresh": gone, "session": gone,
			},
		},
		{
			"context disabled",
			edits{context: func(r *directory.Context) { r.Status = directory.Disabled }},
			map[string]fault.Kind{"encrypt": forbidden, "decrypt": forbidden},
		},
		{
			"application disabled",
			edits{application: func(r *directory.Application) { r.Status = directory.Disabled }},
			map[string]fault.Kind{
				"encrypt": gone, "decrypt": gone, "contexts of an application": gone, "refresh": gone, "signer": gone,
			},
		},
		{
			"application moved to another tenant",
			edits{application: func(r *directory.Application) { r.Tenant = "tenant_2" }},
			map[string]fault.Kind{"encrypt": gone, "decrypt": gone, "contexts of an application": gone, "signer": fault.Internal},
		},
		{
			"application's key replaced",
			edits{application: func(r *directory.Application) { r.KeyID = "appkey_2" }},
			map[string]fault.Kind{"encrypt": gone, "decrypt": gone, "contexts of an application": gone, "signer": fault.Internal},
		},
		{
			"grant to encrypt taken",
			edits{application: func(r *directory.Application) { r.Grants = []directory.Grant{{Context: "user-pii", Decrypt: true}} }},
			map[string]fault.Kind{"encrypt": forbidden},
		},
		{
			"grant to decrypt taken",
			edits{application: func(r *directory.Application) { r.Grants = []directory.Grant{{Context: "user-pii", Encrypt: true}} }},
			map[string]fault.Kind{"decrypt": forbidden},
		},
		{
			"user disabled",
			edits{user: func(r *directory.User) { r.Status = directory.Disabled }},
			map[string]fault.Kind{"contexts of a user": gone, "rotate": gone, "session": gone},
		},
		{
			"user's role taken",
			edits{user: func(r *directory.User) { r.Roles = nil }},
			map[string]fault.Kind{"contexts of a user": forbidden, "rotate": forbidden},
		},
		{
			"session over",
			edits{session: func(r *directory.Session) { r.ExpiresAt = time.Now().UnixMilli() }},
			map[string]fault.Kind{"contexts of a user": gone, "rotate": gone, "session": gone},
		},
		{
			"session of another user",
			edits{session: func(r *directory.Session) { r.User = "user_2" }},
			map[string]fault.Kind{"contexts of a user": gone, "rotate": gone, "session": gone},
		},
		{
			"session of another tenant",
			edits{session: func(r *directory.Session) { r.Tenant = "tenant_2" }},
			map[string]fault.Kind{"contexts of a user": gone, "rotate": gone, "session": gone},
		},
		{
			"refresh family of another application",
			edits{family: func(r *directory.RefreshFamily) { r.Application = "app_2" }},
			map[string]fault.Kind{"refresh": gone},
		},
	}
	for _, right := range rights {
		for _, u := range useCases {
			for _, when := range u.moments {
				t.Run(right.name+"/"+u.name+"/"+string(when), func(t *testing.T) {
					if err := u.run(t); err != nil {
						t.Fatalf("before: %v", err)
					}
					l.shift(&right.edits, when)
					err := u.run(t)
					l.restore()
					if want := right.want[u.name]; fault.Of(err) != want {
						t.Errorf("got %v, want %v", err, want)
					}
				})
			}
		}
	}
}

// TestInvariant05KeyStates puts the key version into each state, before an operation and during its work.
func TestInvariant05KeyStates(t *testing.T) {
	w, l := newShiftingWorld(t)
	o := newOperations(w)
	tests := []struct {
		state            keys.State
		encrypt, decrypt fault.Kind
	}{
		{keys.Active, fault.Unknown, fault.Unknown},
		{keys.Deactivated, fault.KeyState, fault.Unknown},
		{keys.Suspended, fault.KeyState, fault.DecryptFailed},
		{keys.Compromised, fault.KeyState, fault.DecryptFailed},
		{keys.Destroyed, fault.KeyState, fault.DecryptFailed},
		{keys.PreActivation, fault.KeyState, fault.DecryptFailed},
		{keys.StateUnknown, fault.KeyState, fault.DecryptFailed},
	}
	for _, tt := range tests {
		for _, when := range []moment{early, late} {
			t.Run(tt.state.String()+"/"+string(when), func(t *testing.T) {
				change := edits{version: func(v *keys.Version) { v.State = tt.state }}
				run := func(operation func(*testing.T) error, want fault.Kind) {
					if err := operation(t); err != nil {
						t.Fatalf("before: %v", err)
					}
					l.shift(&change, when)
					err := operation(t)
					l.restore()
					if fault.Of(err) != want {
						t.Errorf("got %v, want %v", err, want)
					}
				}
				run(o.encryptOnce, tt.encrypt)
				run(o.decryptOnce, tt.decrypt)
				if r := w.audit.last.Load(); tt.decrypt != fault.Unknown && r.Cause != "key-state" {
					t.Errorf("recorded the cause %q", r.Cause)
				}
			})
		}
	}
}

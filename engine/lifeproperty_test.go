package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/secret"
)

// TestInvariant06WhatWasEncryptedStaysReadable does acts of a key's life by chance. After each, every frame that was ever
// written opens exactly when its version may process: nothing but destruction, and what administrators can take back, closes one.
// A destroyed version leaves nothing that its key could be made with.
func TestInvariant06WhatWasEncryptedStaysReadable(t *testing.T) {
	w := newWorld(t, noWait)
	w.owner()
	number := 0
	rapid.Check(t, func(t *rapid.T) {
		number++
		m := &life{w: w, context: fmt.Sprintf("life-%d", number), minimum: 0}
		format := uint8(rapid.SampledFrom([]int{3, 4}).Draw(t, "format"))
		w.newContext(w.tenant, engine.ContextSpec{Name: m.context, Format: format})
		app := w.newApplication(w.tenant, m.context, m.context)
		if m.permitted = rapid.Bool().Draw(t, "permitted"); m.permitted {
			w.propose(command.ChangeApplication{Tenant: w.tenant, Application: app.ID, Before: app.Grants, Grants: []directory.Grant{
				{Context: m.context, Encrypt: true, Decrypt: true, Compromised: true},
			}})
		}
		m.call = func() *engine.Call { return callOf(subject(app)) }
		m.encrypt(t)
		acts := map[string]func(*rapid.T){"": m.check, "encrypt": m.encrypt, "rotate": m.rotate, "minimum": m.setMinimum, "time": m.time}
		for name, act := range w.lifeActs(w.owner) {
			acts[name] = func(t *rapid.T) { m.act(t, act) }
		}
		t.Repeat(acts)
	})
}

// life is one context, its frames and what is expected of them.
type life struct {
	w         *world
	context   string
	call      func() *engine.Call
	permitted bool
	minimum   uint32
	frames    []frameOf
	salts     map[string][]byte // of versions, by id
}

type frameOf struct {
	ciphertext []byte
	plaintext  string
	keyID      string
}

func (m *life) versions() []*keys.Version {
	return m.w.ledger.View().Tenant(m.w.tenant).ContextVersions(m.context)
}

func (m *life) encrypt(t *rapid.T) {
	plaintext := fmt.Sprintf("%s/%d", m.context, len(m.frames))
	out, err := m.w.engine.Encrypt(m.w.t.Context(), m.call(), &engine.EncryptRequest{Context: m.context, Plaintext: []byte(plaintext)})
	active := m.w.version(m.w.activeKey(m.context))
	if protects := active.State == keys.Active && active.DestroyAt == 0; (err == nil) != protects {
		t.Fatalf("encrypt with a version that is %s: %v", active.State, err)
	}
	if err == nil {
		m.frames = append(m.frames, frameOf{out.Ciphertext, plaintext, out.KeyID})
	}
}

func (m *life) rotate(t *rapid.T) {
	if len(m.versions()) > 6 {
		t.Skip("enough versions")
	}
	if _, err := m.w.engine.RotateContext(m.w.t.Context(), m.w.owner(), m.context); err != nil {
		t.Fatal(err)
	}
	m.encrypt(t)
}

func (m *life) setMinimum(t *rapid.T) {
	minimum := uint32(rapid.IntRange(0, len(m.versions())).Draw(t, "minimum"))
	if err := m.w.engine.SetContextMinimum(m.w.t.Context(), m.w.owner(), m.context, minimum); err != nil {
		t.Fatal(err)
	}
	m.minimum = minimum
}

// act does one act to a version. That its state forbids it is as good.
func (m *life) act(t *rapid.T, act func(id string) error) {
	all := m.versions()
	v := all[rapid.IntRange(0, len(all)-1).Draw(t, "version")]
	if err := act(v.ID); err != nil && !errors.Is(err, fault.KeyState) && !errors.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
}

// time lets what is due happen, and the caches be swept.
func (m *life) time(t *rapid.T) {
	if m.salts == nil {
		m.salts = map[string][]byte{}
	}
	for _, v := range m.versions() {
		if len(v.Salt) > 0 {
			m.salts[v.ID] = v.Salt
		}
	}
	m.w.clock.Add(int64(time.Second))
	if err := m.w.engine.RunDuties(m.w.t.Context()); err != nil {
		t.Fatal(err)
	}
	m.w.engine.Tend()
}

func (m *life) check(t *rapid.T) {
	for _, f := range m.frames {
		v := m.w.version(f.keyID)
		processes := v.DestroyAt == 0 && v.Number >= m.minimum &&
			(v.State == keys.Active || v.State == keys.Deactivated || v.State == keys.Compromised && m.permitted)
		derived := 0
		m.w.vault.onExpand = func([]byte, secret.Bytes) { derived++ }
		out, err := m.w.engine.Decrypt(m.w.t.Context(), m.call(), &engine.DecryptRequest{Context: m.context, Ciphertext: f.ciphertext})
		m.w.vault.onExpand = nil
		switch {
		case processes && (err != nil || string(out.Plaintext) != f.plaintext):
			t.Fatalf("a frame of version %d, which is %s: %v", v.Number, v.State, err)
		case !processes && (!errors.Is(err, fault.DecryptFailed) || derived > 0):
			t.Fatalf("a frame of version %d, which is %s: %v, %d keys derived", v.Number, v.State, err, derived)
		}
	}
	for _, v := range m.versions() {
		if v.State != keys.Destroyed {
			continue
		}
		if salt := m.salts[v.ID]; len(salt) > 0 {
			for _, other := range m.versions() {
				if bytes.Equal(other.Salt, salt) {
					t.Fatalf("the salt of version %d, which is destroyed, stands in version %d", v.Number, other.Number)
				}
			}
		}
		if len(v.Salt)+len(v.Sealed)+len(v.Wrapped) > 0 || m.w.engine.Cached(v.ID) > 0 {
			t.Fatalf("version %d is destroyed and has key material left", v.Number)
		}
	}
}

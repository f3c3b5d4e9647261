package engine

import (
	"bytes"
	"context"
	"crypto/rand"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// ContextInfo is a context with the version that protects in it.
type ContextInfo struct {
	Record  *directory.Context
	Version *keys.Version
}

// Contexts lists the contexts that the subject may use, in order of name.
func (e *Engine) Contexts(_ context.Context, c *Call) ([]ContextInfo, error) {
	r := c.begin(policy.ListContexts)
	list, err := e.contexts(c)
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

func (e *Engine) contexts(c *Call) ([]ContextInfo, error) {
	s := c.Subject
	if s == nil {
		return nil, errNotAuthenticated
	}
	if err := e.look(c); err != nil {
		return nil, err
	}
	view := e.ledger.View()
	tenant := view.Tenant(s.Tenant)
	visible := func(*directory.Context) bool { return true }
	if s.Kind == policy.KindApplication {
		app, err := application(view, tenant, s)
		if err != nil {
			return nil, err
		}
		visible = func(c *directory.Context) bool {
			return policy.ApplicationMay(s, app, policy.Encrypt, c.Name) || policy.ApplicationMay(s, app, policy.Decrypt, c.Name)
		}
	} else if _, err := e.authorizeChange(c, policy.ListContexts); err != nil {
		return nil, err
	}
	list := []ContextInfo{}
	for _, c := range tenant.Contexts() {
		if visible(c) {
			list = append(list, ContextInfo{Record: c, Version: tenant.Version(c.ActiveKey)})
		}
	}
	return list, nil
}

// RotateResult names the version that protects from now on and the one before, which only processes.
type RotateResult struct {
	Context  string
	Version  *keys.Version
	Previous string
}

// RotateContext makes a new version the active one of a context. Nothing is encrypted again: what older versions protected
// stays readable. Two rotations at once give one fault.Conflict.
func (e *Engine) RotateContext(ctx context.Context, c *Call, name string) (RotateResult, error) {
	return e.rotateContext(ctx, c, name, "")
}

var errRotated = fault.New(fault.Conflict, "engine.rotate", "another version protects by now")

// rotateContext rotates a context, only if the version from protects in it when from is not empty.
func (e *Engine) rotateContext(ctx context.Context, c *Call, name, from string) (RotateResult, error) {
	r := c.begin(policy.RotateContext)
	r.Context = name
	var out RotateResult
	err := e.change(ctx, c, &r, policy.RotateContext, func() (command.Command, error) {
		if !directory.ValidContextName(name) {
			return nil, errContextName
		}
		record := e.ledger.View().Tenant(c.Subject.Tenant).Context(name)
		if record == nil {
			return nil, fault.New(fault.NotFound, "engine.rotate", "there is no such context")
		}
		if from != "" && record.ActiveKey != from {
			return nil, errRotated
		}
		v, err := e.newVersion(ctx, record, record.Versions+1)
		if err != nil {
			return nil, err
		}
		r.KeyID, r.Algorithm = v.ID, string(v.Algorithm)
		out = RotateResult{Context: name, Version: v, Previous: record.ActiveKey}
		return command.RotateContext{Version: *v}, nil
	})
	if err != nil {
		return RotateResult{}, err
	}
	return out, nil
}

// newVersion makes the record of a version of a context and proves that its key can be used, so that no version becomes
// active that cannot be used.
func (e *Engine) newVersion(ctx context.Context, c *directory.Context, number uint32) (*keys.Version, error) {
	row, ok := algs.Of(c.Algorithm, algs.ClassAEAD, algs.ClassHybrid)
	if !ok {
		return nil, fault.New(fault.AlgorithmDisallowed, "engine.version", "the context's algorithm is not known to this node")
	}
	if err := e.gate(row, algs.Protect); err != nil {
		return nil, err
	}
	v := &keys.Version{
		ID: newKeyID(c.Name), Tenant: c.Tenant, Context: c.Name, Number: number, State: keys.Active,
		Algorithm: c.Algorithm, Bits: keys.DEKBits, CreatedAt: e.now().UnixMilli(),
	}
	if row.Class == algs.ClassHybrid {
		return v, e.makePair(ctx, v, kem.Generate)
	}
	if c.Format == 3 {
		v.Bits = row.KeyBits // format 3 encrypts with the derived key itself
	}
	if c.Derivation == directory.Salted {
		salt, err := e.vault.Random(ctx, keys.SaltBytes)
		if err != nil {
			return nil, err
		}
		v.Salt = salt
	}
	key, err := e.deriveDEK(ctx, v)
	if err != nil {
		return nil, err
	}
	key.Destroy()
	return v, nil
}

func newKeyID(context string) string {
	var id [8]byte
	rand.Read(id[:])
	return keys.NewID(context, id)
}

// makePair gives a version a new pair of keys, the private half sealed, and proves that it opens again.
func (e *Engine) makePair(ctx context.Context, v *keys.Version, generate func(algs.Name) (public, private []byte, err error)) error {
	public, private, err := generate(v.Algorithm)
	if err != nil {
		return fault.Wrap(fault.Internal, "engine.version", "", err)
	}
	defer clear(private)
	return e.keepPair(ctx, v, public, private)
}

func (e *Engine) keepPair(ctx context.Context, v *keys.Version, public, private []byte) error {
	sealed, err := e.sealKey(ctx, v.Tenant, v.ID, v.Number, string(v.Algorithm), private)
	if err != nil {
		return err
	}
	v.Public, v.Sealed = public, sealed
	again, err := e.unsealKey(ctx, v.Tenant, v.ID, v.Number, string(v.Algorithm), sealed)
	if err != nil {
		return err
	}
	defer again.Destroy()
	if !bytes.Equal(again.Reveal(), private) {
		return fault.New(fault.Internal, "engine.version", "a sealed key does not open as it was")
	}
	return nil
}

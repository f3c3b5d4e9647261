package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
	"cryptoserve/engine/signature"
)

// KeySpec is what a new key object is to be.
type KeySpec struct {
	Name        string
	Context     string
	Description string
	Purpose     keys.Purpose    // unknown means the one that the algorithm is for
	Algorithm   string          //
	Protection  keys.Protection // unknown means host
}

// KeyInfo is a key object with its versions, newest first.
type KeyInfo struct {
	Record   *keys.Object
	Versions []*keys.Version
}

// CreateKey makes a key object of the caller's tenant with a new first version.
func (e *Engine) CreateKey(ctx context.Context, c *Call, spec KeySpec) (KeyInfo, error) {
	return e.addKey(ctx, c, policy.CreateKey, spec, func(o *keys.Object, v *keys.Version) (string, error) {
		return "", e.newMaterial(ctx, o, v)
	})
}

// addKey makes a key object whose first version gets its material from fill, which also names the import it used.
func (e *Engine) addKey(
	ctx context.Context, c *Call, action policy.Action, spec KeySpec, fill func(*keys.Object, *keys.Version) (string, error),
) (KeyInfo, error) {
	r := c.begin(action)
	r.Context, r.Resource, r.Algorithm = spec.Context, spec.Name, spec.Algorithm
	var info KeyInfo
	err := e.change(ctx, c, &r, action, func() (command.Command, error) {
		o, err := e.newObject(c.Subject.Tenant, spec)
		if err != nil {
			return nil, err
		}
		v := e.newObjectVersion(o, 1)
		o.ActiveKey, o.Versions = v.ID, 1
		used, err := fill(o, v)
		if err != nil {
			return nil, err
		}
		r.KeyID = v.ID
		info = KeyInfo{Record: o, Versions: []*keys.Version{v}}
		return command.CreateKey{Object: *o, Version: *v, Import: used}, nil
	})
	if err != nil {
		return KeyInfo{}, err
	}
	return info, nil
}

// newObject makes the record of a key object, without a version.
func (e *Engine) newObject(tenantID string, spec KeySpec) (*keys.Object, error) {
	if !directory.ValidContextName(spec.Context) {
		return nil, errContextName
	}
	row, err := e.lookup(spec.Algorithm, algs.ClassSignature, algs.ClassMAC, algs.ClassKEM, algs.ClassAgreement,
		algs.ClassPublicEncryption, algs.ClassAEAD)
	if err != nil {
		return nil, err
	}
	o := &keys.Object{
		Tenant: tenantID, Name: spec.Name, Context: spec.Context, Description: spec.Description, Purpose: spec.Purpose,
		Algorithm: row.Name, Protection: spec.Protection, CreatedAt: e.now().UnixMilli(),
	}
	if o.Purpose == keys.PurposeUnknown {
		o.Purpose = keys.PurposeOf(row)
	}
	if o.Protection == keys.ProtectionUnknown {
		o.Protection = keys.Host
	}
	if err := o.Validate(); err != nil {
		return nil, fault.New(fault.Malformed, "engine.key", err.Error())
	}
	if o.Protection == keys.Token {
		if err := e.vault.Supports(row.Name); err != nil {
			return nil, err
		}
	}
	tenant := e.ledger.View().Tenant(tenantID)
	if c := tenant.Context(spec.Context); c == nil {
		return nil, fault.New(fault.NotFound, "engine.key", "there is no such context")
	}
	if tenant.Object(spec.Name) != nil {
		return nil, fault.New(fault.Conflict, "engine.key", "a key with this name exists already")
	}
	return o, nil
}

func (e *Engine) newObjectVersion(o *keys.Object, number uint32) *keys.Version {
	return &keys.Version{
		ID: newKeyID(o.Context), Tenant: o.Tenant, Context: o.Context, Object: o.Name, Number: number, State: keys.Active,
		Algorithm: o.Algorithm, CreatedAt: e.now().UnixMilli(),
	}
}

// newMaterial gives a version of a key object a new key.
func (e *Engine) newMaterial(ctx context.Context, o *keys.Object, v *keys.Version) error {
	row, ok := algs.Lookup(o.Algorithm)
	if !ok {
		return fault.New(fault.AlgorithmDisallowed, "engine.key", "the key's algorithm is not known to this node")
	}
	if err := e.gate(row, algs.Protect); err != nil {
		return err
	}
	if o.Protection == keys.Token {
		public, blob, err := e.vault.GenerateKey(ctx, row.Name)
		if err != nil {
			return err
		}
		v.Wrapped = blob
		return setTokenPublic(v, row, public)
	}
	switch row.Class {
	case algs.ClassSignature:
		return e.makePair(ctx, v, signature.Generate)
	case algs.ClassMAC:
		key, err := e.vault.Random(ctx, int(row.KeyBits)/8)
		if err != nil {
			return err
		}
		defer clear(key)
		return e.keepPair(ctx, v, nil, key)
	default:
		return e.makePair(ctx, v, kem.Generate)
	}
}

// RotateKey gives a key object a new version, which protects from now on. What older versions protected stays readable.
func (e *Engine) RotateKey(ctx context.Context, c *Call, name string) (KeyInfo, error) {
	return e.rotateKey(ctx, c, name, "")
}

// rotateKey rotates a key object, only if its version from protects when from is not empty.
func (e *Engine) rotateKey(ctx context.Context, c *Call, name, from string) (KeyInfo, error) {
	return e.nextVersion(ctx, c, policy.RotateKey, name, func(o *keys.Object, v *keys.Version) (string, error) {
		if from != "" && o.ActiveKey != from {
			return "", errRotated
		}
		return "", e.newMaterial(ctx, o, v)
	})
}

func (e *Engine) nextVersion(
	ctx context.Context, c *Call, action policy.Action, name string, fill func(*keys.Object, *keys.Version) (string, error),
) (KeyInfo, error) {
	r := c.begin(action)
	r.Resource = name
	var v *keys.Version
	err := e.change(ctx, c, &r, action, func() (command.Command, error) {
		o, err := e.object(c.Subject.Tenant, name)
		if err != nil {
			return nil, err
		}
		if o.Disabled {
			return nil, fault.New(fault.KeyState, "engine.key", "the key is disabled: enable it first")
		}
		v = e.newObjectVersion(o, o.Versions+1)
		used, err := fill(o, v)
		if err != nil {
			return nil, err
		}
		r.Context, r.KeyID, r.Algorithm = o.Context, v.ID, string(v.Algorithm)
		return command.RotateKey{Version: *v, Import: used}, nil
	})
	if err != nil {
		return KeyInfo{}, err
	}
	return e.keyInfo(e.ledger.View().Tenant(v.Tenant), name), nil
}

// object returns the record of a key object of a tenant.
func (e *Engine) object(tenant, name string) (*keys.Object, error) {
	if !keys.ValidName(name) {
		return nil, errKeyName
	}
	o := e.ledger.View().Tenant(tenant).Object(name)
	if o == nil {
		return nil, fault.New(fault.NotFound, "engine.key", "there is no such key")
	}
	return o, nil
}

// SetKeyDisabled disables a key object, or enables it again. A disabled key serves nothing, neither to protect nor to process.
func (e *Engine) SetKeyDisabled(ctx context.Context, c *Call, name string, disabled bool) (KeyInfo, error) {
	action := policy.EnableKey
	if disabled {
		action = policy.DisableKey
	}
	r := c.begin(action)
	r.Resource = name
	err := e.change(ctx, c, &r, action, func() (command.Command, error) {
		o, err := e.object(c.Subject.Tenant, name)
		if err != nil {
			return nil, err
		}
		r.Context, r.KeyID = o.Context, o.ActiveKey
		return command.SetKeyDisabled{Tenant: o.Tenant, Name: o.Name, Disabled: disabled}, nil
	})
	if err != nil {
		return KeyInfo{}, err
	}
	return e.keyInfo(e.ledger.View().Tenant(c.Subject.Tenant), name), nil
}

// keyInfo returns a key object of a tenant with its versions; its record is nil when it is gone.
func (e *Engine) keyInfo(tenant TenantView, name string) KeyInfo {
	info := KeyInfo{Record: tenant.Object(name), Versions: tenant.ObjectVersions(name)}
	newestFirst(info.Versions)
	return info
}

func newestFirst(list []*keys.Version) {
	slices.SortFunc(list, func(a, b *keys.Version) int { return cmp.Compare(b.Number, a.Number) })
}

// Keys lists the key objects that the subject may use, in order of name.
func (e *Engine) Keys(_ context.Context, c *Call) ([]KeyInfo, error) {
	r := c.begin(policy.ListKeys)
	list, err := e.keys(c)
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

func (e *Engine) keys(c *Call) ([]KeyInfo, error) {
	visible, tenant, err := e.visibleKeys(c, policy.ListKeys)
	if err != nil {
		return nil, err
	}
	list := []KeyInfo{}
	for _, o := range tenant.Objects() {
		if visible(o) {
			list = append(list, e.keyInfo(tenant, o.Name))
		}
	}
	return list, nil
}

// visibleKeys returns which key objects of its tenant a subject may know of.
func (e *Engine) visibleKeys(c *Call, action policy.Action) (func(*keys.Object) bool, TenantView, error) {
	s := c.Subject
	if s == nil {
		return nil, nil, errNotAuthenticated
	}
	if err := e.look(c); err != nil {
		return nil, nil, err
	}
	view := e.ledger.View()
	tenant := view.Tenant(s.Tenant)
	if s.Kind != policy.KindApplication {
		_, err := e.authorizeChange(c, action)
		return func(*keys.Object) bool { return true }, tenant, err
	}
	app, err := application(view, tenant, s)
	if err != nil {
		return nil, nil, err
	}
	return func(o *keys.Object) bool { return policy.ApplicationMay(s, app, policy.ReadKey, o.Context) }, tenant, nil
}

// Key returns one key object.
func (e *Engine) Key(_ context.Context, c *Call, name string) (KeyInfo, error) {
	r := c.begin(policy.ReadKey)
	r.Resource = name
	info, err := func() (KeyInfo, error) {
		visible, tenant, err := e.visibleKeys(c, policy.ReadKey)
		if err != nil {
			return KeyInfo{}, err
		}
		if !keys.ValidName(name) {
			return KeyInfo{}, errKeyName
		}
		o := tenant.Object(name)
		if o == nil || !visible(o) {
			return KeyInfo{}, fault.New(fault.NotFound, "engine.key", "there is no such key")
		}
		r.Context, r.KeyID = o.Context, o.ActiveKey
		return e.keyInfo(tenant, name), nil
	}()
	if err := e.finish(c, &r, err); err != nil {
		return KeyInfo{}, err
	}
	return info, nil
}

// importLasts is how long a pair waits for its wrapped key.
const importLasts = time.Hour

// CreateImport makes a pair that one key can be imported with: the key comes wrapped for its public half, as in PKCS#11 v3.0
// CKM_RSA_AES_KEY_WRAP. For a key of protection hsm the private half stays in the token.
func (e *Engine) CreateImport(ctx context.Context, c *Call, protection keys.Protection) (*keys.Import, error) {
	now := e.now()
	i := &keys.Import{
		ID: "import_" + randomID(), Tenant: c.tenant(), Protection: protection, CreatedAt: now.UnixMilli(),
		ExpiresAt: now.Add(importLasts).UnixMilli(),
	}
	return i, e.create(ctx, c, policy.CreateImport, i.ID, func() (command.Command, error) {
		var err error
		switch protection {
		case keys.Token:
			i.Public, i.Wrapped, i.Hash, err = e.vault.ImportPair(ctx)
		case keys.Host:
			err = e.makeImportPair(ctx, i)
		default:
			err = malformedField("protection", "is neither host nor hsm")
		}
		if err != nil {
			return nil, err
		}
		return command.CreateImport{Import: *i}, nil
	})
}

// pendingImport returns a pair that still waits for its key.
func (e *Engine) pendingImport(tenant TenantView, id string) (*keys.Import, error) {
	pair := tenant.Import(id)
	if pair == nil || pair.ExpiresAt < e.now().UnixMilli() {
		return nil, fault.New(fault.NotFound, "engine.import", "the import does not exist, was used or has expired: begin another")
	}
	return pair, nil
}

// ImportRequest is a key that was made elsewhere, wrapped for the public half of an import's pair.
type ImportRequest struct {
	Import  string
	Wrapped []byte
	// Public is the public half of an elliptic-curve key for the token, which cannot tell it: SubjectPublicKeyInfo in PEM.
	Public string
}

// ImportKey makes a key object of a wrapped key, or gives an existing one of the same algorithm another version.
func (e *Engine) ImportKey(ctx context.Context, c *Call, spec KeySpec, in ImportRequest) (KeyInfo, error) {
	fill := func(o *keys.Object, v *keys.Version) (string, error) {
		return in.Import, e.importMaterial(ctx, o, v, in)
	}
	if c.Subject != nil && keys.ValidName(spec.Name) {
		if o := e.ledger.View().Tenant(c.Subject.Tenant).Object(spec.Name); o != nil && sameKey(o, spec) {
			return e.nextVersion(ctx, c, policy.ImportKey, spec.Name, fill)
		}
	}
	return e.addKey(ctx, c, policy.ImportKey, spec, fill)
}

// sameKey reports whether a spec means an existing key object.
func sameKey(o *keys.Object, spec KeySpec) bool {
	return string(o.Algorithm) == spec.Algorithm && o.Context == spec.Context &&
		(spec.Purpose == keys.PurposeUnknown || spec.Purpose == o.Purpose) &&
		(spec.Protection == keys.ProtectionUnknown || spec.Protection == o.Protection)
}

// importMaterial gives a version the key that came wrapped.
func (e *Engine) importMaterial(ctx context.Context, o *keys.Object, v *keys.Version, in ImportRequest) error {
	row, ok := algs.Lookup(o.Algorithm)
	if !ok {
		return fault.New(fault.AlgorithmDisallowed, "engine.key", "the key's algorithm is not known to this node")
	}
	if err := e.gate(row, algs.Protect); err != nil {
		return err
	}
	pair, err := e.pendingImport(e.ledger.View().Tenant(o.Tenant), in.Import)
	if err != nil {
		return err
	}
	if pair.Protection != o.Protection {
		return fault.New(fault.Conflict, "engine.import", "the import was begun for protection "+pair.Protection.String())
	}
	v.Imported = true
	if o.Protection == keys.Token {
		return e.importIntoToken(ctx, row, v, pair, in)
	}
	key, err := e.unwrapImported(ctx, pair, in.Wrapped)
	if err != nil {
		return err
	}
	defer key.Destroy()
	return e.importOnHost(ctx, row, v, key)
}

// importOnHost reads an unwrapped key: PKCS#8 for a pair, the bytes themselves for a secret key.
func (e *Engine) importOnHost(ctx context.Context, row algs.Row, v *keys.Version, key secret.Bytes) error {
	var public, private []byte
	var err error
	switch row.Class {
	case algs.ClassMAC:
		if key.Len() != int(row.KeyBits)/8 {
			return malformedField("wrapped_key", fmt.Sprintf("holds a key that has not the %d bytes of %s", row.KeyBits/8, row.Name))
		}
		return e.keepPair(ctx, v, nil, key.Reveal())
	case algs.ClassSignature:
		public, private, err = signature.ImportPKCS8(row.Name, key.Reveal())
	default:
		public, private, err = kem.ImportPKCS8(row.Name, key.Reveal())
	}
	if err != nil {
		return err
	}
	defer clear(private)
	return e.keepPair(ctx, v, public, private)
}

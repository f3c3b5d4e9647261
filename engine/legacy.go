package engine

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

// unusableLegacy tells why an imported key version may not open a frame in the plan's context; empty means that it may.
func unusableLegacy(k *keys.LegacyKey, p *plan) fault.Cause {
	switch {
	case k == nil || k.Context != p.context.Name:
		return causeKey
	case !k.State.Allows(keys.Process):
		return causeKeyState
	default:
		return ""
	}
}

// legacyKey returns the key of an imported deployment that opens a frame.
func (e *Engine) legacyKey(ctx context.Context, p *plan, k *keys.LegacyKey, o *opened) (openingKey, fault.Cause, error) {
	f := &o.frame
	if why := unusableLegacy(k, p); why != "" {
		return openingKey{}, why, nil
	}
	row, ok := algs.Of(f.Algorithm, algs.ClassAEAD, algs.ClassHybrid)
	// A key pair opens hybrid frames of its own algorithm only, a derived key all others up to format 3.
	if !ok || f.Format > 3 || f.OriginalHybrid != (k.Algorithm != "") || f.OriginalHybrid && k.Algorithm != f.Algorithm {
		return openingKey{}, causeAlgorithm, nil
	}
	o.row = row
	if err := e.gate(row, algs.Process); err != nil {
		return openingKey{}, "", err
	}
	o.keyID, o.legacy = k.KeyID, true
	if f.OriginalHybrid {
		return e.legacyShared(ctx, k, o)
	}
	size := f.LegacyKeyBytes()
	of := owner{tenant: k.Tenant, keyID: k.KeyID, legacy: true}
	d, err := e.deks.get(ctx, fmt.Sprintf("legacy/%s/%s/%d", k.Tenant, k.KeyID, size), of, func(ctx context.Context) (secret.Bytes, error) {
		master := p.tenant.LegacyMaster(k.Master)
		if master == nil {
			return secret.Bytes{}, fault.New(fault.Internal, "engine.legacy", "the imported master key is missing")
		}
		return e.vault.LegacyExpand(ctx, master.Number, master.Wrapped, master.KCV, legacyInfo(k.Context, k.OriginalTenant, k.Number, size), size)
	})
	return openingKey{cached: d}, "", err
}

// legacyInfo is what the original derived its data keys with.
func legacyInfo(context, tenant string, number uint32, size int) []byte {
	return fmt.Appendf(nil, "%s:%s:v%d:sz%d", context, tenant, number, size)
}

// legacyShared returns the secret that a hybrid frame of the original encapsulates.
func (e *Engine) legacyShared(ctx context.Context, k *keys.LegacyKey, o *opened) (openingKey, fault.Cause, error) {
	of := owner{tenant: k.Tenant, keyID: k.KeyID, legacy: true}
	private, err := e.openers.get(ctx, "legacy/"+k.Tenant+"/"+k.KeyID, of, func(ctx context.Context) (*kem.PrivateKey, error) {
		expanded, err := e.unsealKey(ctx, k.Tenant, k.KeyID, k.Number, string(k.Algorithm), k.Sealed)
		if err != nil {
			return nil, err
		}
		defer expanded.Destroy()
		key, err := kem.ParseExpanded(k.Algorithm, expanded.Reveal())
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "engine.legacy", "", err)
		}
		return key, nil
	})
	if err != nil {
		return openingKey{}, "", err
	}
	defer private.release()
	shared, err := private.key.Decapsulate(o.frame.Encapsulated)
	if err != nil {
		return openingKey{}, causeCommitment, nil
	}
	return openingKey{shared: shared}, "", nil
}

// LegacyVersion names a key version of the deployment to import, as its database has it.
type LegacyVersion struct {
	KeyID   string
	Context string
	Tenant  string // the original's tenant id, which its derivation takes
	Number  uint32
}

// LegacyPair is a stored key pair of the deployment's hybrid ciphertexts, as its database has it: the private half in the
// expanded form of FIPS 203 under AES-256-GCM, with the associated data "{context}:{key id}:{algorithm}" and a key that is
// derived like the data key of the context's version 1.
type LegacyPair struct {
	KeyID     string
	Context   string
	Algorithm string
	Nonce     []byte
	Encrypted []byte
	// WrapInfo is what the wrapping key is derived with; empty means "{context}:{tenant}:v1:sz32" without a tenant, as the
	// original's later versions have it.
	WrapInfo string
}

// LegacyRequest imports key versions of a deployment of the public original.
type LegacyRequest struct {
	// Import is the pair that Wrapped is for; both are empty when the master key was imported before.
	Import   string
	Wrapped  []byte
	Master   uint32 // number of a master key imported before, 0 with Wrapped
	Versions []LegacyVersion
	Pairs    []LegacyPair
}

// LegacyResult tells what was imported.
type LegacyResult struct {
	Master uint32 // the token object is cs-legacy-<Master>
	Keys   int
}

// MaxLegacyKeys is the most key versions and pairs of one import.
const MaxLegacyKeys = 1000

// ImportLegacy makes what a deployment of the public original has encrypted readable here, in the caller's tenant.
func (e *Engine) ImportLegacy(ctx context.Context, c *Call, in *LegacyRequest) (LegacyResult, error) {
	r := c.begin(policy.ImportLegacy)
	var out LegacyResult
	keep := func() {}
	err := e.change(ctx, c, &r, policy.ImportLegacy, func() (command.Command, error) {
		if n := len(in.Versions) + len(in.Pairs); n > MaxLegacyKeys {
			return nil, malformedField("keys", fmt.Sprintf("are %d, at most %d are taken at once", n, MaxLegacyKeys))
		}
		tenant := e.ledger.View().Tenant(c.Subject.Tenant)
		cmd := command.ImportLegacy{Tenant: c.Subject.Tenant, Import: in.Import}
		for _, v := range in.Versions {
			cmd.Keys = append(cmd.Keys, keys.LegacyKey{
				Tenant: c.Subject.Tenant, KeyID: v.KeyID, Context: v.Context, OriginalTenant: v.Tenant, Number: v.Number,
				State: keys.Deactivated, CreatedAt: e.now().UnixMilli(),
			})
		}
		// What is wrong with the rows is said before anything is made in the token.
		if err := checkLegacyKeys(tenant, cmd.Keys); err != nil {
			return nil, err
		}
		master, err := e.legacyMaster(ctx, tenant, in, &cmd)
		if err != nil {
			return nil, err
		}
		r.Resource = fmt.Sprintf("cs-legacy-%d", master.Number)
		for i := range in.Pairs {
			k, err := e.legacyPair(ctx, c.Subject.Tenant, master, &in.Pairs[i])
			if err != nil {
				return nil, err
			}
			cmd.Keys = append(cmd.Keys, k)
		}
		if err := checkLegacyKeys(tenant, cmd.Keys); err != nil {
			return nil, err
		}
		for i := range cmd.Keys {
			cmd.Keys[i].Master = master.Number
		}
		out = LegacyResult{Master: master.Number, Keys: len(cmd.Keys)}
		if len(cmd.Masters) == 1 {
			pair := tenant.Import(in.Import) // which ends with the change
			keep = func() { e.keepLegacy(ctx, &cmd.Masters[0], pair.Wrapped, in.Wrapped) }
		}
		return cmd, nil
	})
	if err != nil {
		return LegacyResult{}, err
	}
	keep()
	return out, nil
}

// legacyMaster returns the master key that the versions belong to. A new one becomes part of the command.
func (e *Engine) legacyMaster(ctx context.Context, tenant TenantView, in *LegacyRequest, cmd *command.ImportLegacy) (*keys.LegacyMaster, error) {
	if in.Import == "" {
		m := tenant.LegacyMaster(in.Master)
		if m == nil {
			return nil, fault.New(fault.NotFound, "engine.legacy", "there is no imported master key with this number")
		}
		return m, nil
	}
	pair, err := e.pendingImport(tenant, in.Import)
	if err != nil {
		return nil, err
	}
	if pair.Protection != keys.Token {
		return nil, fault.New(fault.Conflict, "engine.legacy", "a master key is imported into the token: begin the import with protection hsm")
	}
	blob, kcv, err := e.vault.UnwrapLegacy(ctx, pair.Wrapped, in.Wrapped)
	if err != nil {
		return nil, err
	}
	for _, m := range tenant.LegacyMasters() {
		if bytes.Equal(m.KCV, kcv) {
			return m, nil // the same key, imported before
		}
	}
	m := keys.LegacyMaster{
		Number: uint32(e.ledger.View().LegacyMasters()) + 1, //nolint:gosec // a few
		Tenant: cmd.Tenant, KCV: kcv, Wrapped: blob, CreatedAt: e.now().UnixMilli(),
	}
	cmd.Masters = append(cmd.Masters, m)
	return &m, nil
}

// keepLegacy makes a newly imported master key an object of this node's token. It happens after the change, so that an import
// that fails leaves nothing in the token; without the object the key is used from its record.
func (e *Engine) keepLegacy(ctx context.Context, m *keys.LegacyMaster, pair, wrapped []byte) {
	if err := e.vault.KeepLegacy(ctx, m.Number, m.KCV, pair, wrapped); err != nil {
		e.log.Warn("an imported master key has no object in the token; it is used from its record", "number", m.Number, "error", err)
	}
}

// legacyPair opens the stored private half of a pair and seals it for this cluster.
func (e *Engine) legacyPair(ctx context.Context, tenant string, m *keys.LegacyMaster, p *LegacyPair) (keys.LegacyKey, error) {
	bad := func(detail string) (keys.LegacyKey, error) {
		return keys.LegacyKey{}, malformedField("hybrid_keys", "the pair "+p.KeyID+" "+detail)
	}
	name := algs.Name(p.Algorithm)
	if row, ok := algs.Of(name, algs.ClassHybrid); !ok {
		return bad("has an algorithm that the original did not have")
	} else if err := e.gate(row, algs.Process); err != nil {
		return keys.LegacyKey{}, err
	}
	info := p.WrapInfo
	if info == "" {
		info = fmt.Sprintf("%s:v1:sz32", p.Context)
	}
	wrapping, err := e.vault.LegacyExpand(ctx, m.Number, m.Wrapped, m.KCV, []byte(info), 32)
	if err != nil {
		return keys.LegacyKey{}, err
	}
	defer wrapping.Destroy()
	private, err := openStoredPair(wrapping.Reveal(), p)
	if err != nil {
		return bad("does not open under the imported master key")
	}
	defer clear(private)
	key, err := kem.ParseExpanded(name, private)
	if err != nil {
		return bad("is not a decapsulation key of its algorithm")
	}
	key.Destroy()
	const number = 1
	sealed, err := e.sealKey(ctx, tenant, p.KeyID, number, p.Algorithm, private)
	if err != nil {
		return keys.LegacyKey{}, err
	}
	return keys.LegacyKey{
		Tenant: tenant, KeyID: p.KeyID, Context: p.Context, Master: m.Number, Number: number, State: keys.Deactivated,
		CreatedAt: e.now().UnixMilli(), Algorithm: name, Sealed: sealed,
	}, nil
}

// checkLegacyKeys names the first key version that cannot be imported.
func checkLegacyKeys(tenant TenantView, list []keys.LegacyKey) error {
	for i := range list {
		k := &list[i]
		if err := k.Validate(); err != nil {
			return malformedField("keys", err.Error())
		}
		if c := tenant.Context(k.Context); c == nil || c.Status != directory.Enabled {
			return malformedField("keys", "the context "+k.Context+" of "+k.KeyID+" does not exist here, or is disabled: create it first")
		}
	}
	return nil
}

// openStoredPair opens the private half of a pair as the original stored it.
func openStoredPair(wrapping []byte, p *LegacyPair) ([]byte, error) {
	block, err := aes.NewCipher(wrapping)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(p.Nonce) != gcm.NonceSize() {
		return nil, errors.New("the nonce has not 12 bytes")
	}
	return gcm.Open(nil, p.Nonce, p.Encrypted, []byte(p.Context+":"+p.KeyID+":"+p.Algorithm))
}

package engine

import (
	"context"
	"encoding/binary"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/lp"
	"cryptoserve/engine/seal"
	"cryptoserve/engine/secret"
	"cryptoserve/engine/signature"
)

// keySeal returns the key that seals a tenant's private keys at rest. The caller destroys it.
func (e *Engine) keySeal(ctx context.Context, tenant string) (*seal.Key, error) {
	key, err := e.vault.Expand(ctx, PurposeInfo(purposeKeySeal, tenant), derivedBytes)
	if err != nil {
		return nil, err
	}
	return seal.New(key)
}

// sealedKeyAAD binds a sealed key to its record: lp(tenant) lp(key id) uint32(version) lp(algorithm).
func sealedKeyAAD(tenant, keyID string, version uint32, algorithm string) []byte {
	aad := lp.Append(lp.Append(nil, tenant), keyID)
	return lp.Append(binary.BigEndian.AppendUint32(aad, version), algorithm)
}

func (e *Engine) sealKey(ctx context.Context, tenant, keyID string, version uint32, algorithm string, key []byte) ([]byte, error) {
	k, err := e.keySeal(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer k.Destroy()
	sealed, err := k.Seal(nil, sealedKeyAAD(tenant, keyID, version, algorithm), key)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "engine.seal", "", err)
	}
	return sealed, nil
}

func (e *Engine) unsealKey(ctx context.Context, tenant, keyID string, version uint32, algorithm string, sealed []byte) (secret.Bytes, error) {
	k, err := e.keySeal(ctx, tenant)
	if err != nil {
		return secret.Bytes{}, err
	}
	defer k.Destroy()
	key, err := k.Open(nil, sealedKeyAAD(tenant, keyID, version, algorithm), sealed)
	if err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Internal, "engine.seal", "", err)
	}
	return secret.New(key), nil
}

// dek returns the data key of a version, which the caller must release: derived in the token, or unsealed.
func (e *Engine) dek(ctx context.Context, v *keys.Version) (*held[secret.Bytes], error) {
	return keyOf(ctx, e.deks, v, func(ctx context.Context) (secret.Bytes, error) {
		if v.Derived() {
			return e.deriveDEK(ctx, v)
		}
		return e.unsealKey(ctx, v.Tenant, v.ID, v.Number, string(v.Algorithm), v.Sealed)
	})
}

// signer returns the private key of a version that signs on this node, which the caller must release.
func (e *Engine) signer(ctx context.Context, v *keys.Version) (*held[*signature.PrivateKey], error) {
	return keyOf(ctx, e.signers, v, func(ctx context.Context) (*signature.PrivateKey, error) {
		return unsealed(ctx, e, v, signature.ParsePrivate)
	})
}

// opener returns the private key of a version that decapsulates, agrees or decrypts on this node, which the caller must
// release.
func (e *Engine) opener(ctx context.Context, v *keys.Version) (*held[*kem.PrivateKey], error) {
	return keyOf(ctx, e.openers, v, func(ctx context.Context) (*kem.PrivateKey, error) {
		return unsealed(ctx, e, v, kem.ParsePrivate)
	})
}

// keyOf returns a version's key from a cache, or loads it: to stay there if the version's state lets it.
func keyOf[K destroyer](
	ctx context.Context, c *keyCache[K], v *keys.Version, load func(context.Context) (K, error),
) (*held[K], error) {
	of := owner{tenant: v.Tenant, keyID: v.ID}
	if !kept(v) {
		return c.once(ctx, of, load)
	}
	h, err := c.cached(v.ID)
	if h != nil || err != nil {
		return h, err
	}
	return c.get(ctx, v.ID, of, load)
}

// unsealed opens the sealed half of a version and reads it.
func unsealed[K any, N ~string](ctx context.Context, e *Engine, v *keys.Version, parse func(N, []byte) (K, error)) (K, error) {
	var none K
	private, err := e.unsealKey(ctx, v.Tenant, v.ID, v.Number, string(v.Algorithm), v.Sealed)
	if err != nil {
		return none, err
	}
	defer private.Destroy()
	key, err := parse(N(v.Algorithm), private.Reveal())
	if err != nil {
		return none, fault.Wrap(fault.Internal, "engine.keys", "", err)
	}
	return key, nil
}

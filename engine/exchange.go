package engine

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/keyenc"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// EncapsulateResult is a shared secret and what the key's owner gets it back from.
type EncapsulateResult struct {
	Ciphertext   []byte
	SharedSecret []byte // 32 bytes
	KeyID        string
	Algorithm    string
	Warnings     []string
}

// Encapsulate makes a shared secret for the active version of a key object (FIPS 203 section 7.2).
func (e *Engine) Encapsulate(ctx context.Context, c *Call, key string) (EncapsulateResult, error) {
	r := c.begin(policy.Encapsulate)
	r.Resource = key
	var out EncapsulateResult
	err := e.protectWithKey(ctx, c, &r, policy.Encapsulate, key, keys.PurposeKEM, func(p *plan, row algs.Row, warnings []string) error {
		clear(out.SharedSecret)
		ciphertext, shared, err := kem.Encapsulate(row.Name, p.active.Public)
		if err != nil {
			return fault.Wrap(fault.Internal, "engine.kem", "", err)
		}
		out = EncapsulateResult{
			Ciphertext: ciphertext, SharedSecret: shared, KeyID: p.active.ID, Algorithm: string(row.Name), Warnings: warnings,
		}
		r.Out = len(ciphertext)
		return nil
	})
	if err != nil {
		clear(out.SharedSecret)
		return EncapsulateResult{}, err
	}
	return out, nil
}

// KeyUse names the key object of a request, and its version; empty means the active one.
type KeyUse struct {
	Key   string
	KeyID string
}

// SecretResult is a secret that a private key gave.
type SecretResult struct {
	Secret    []byte
	KeyID     string
	Algorithm string
	Warnings  []string
}

// processWithOne is processWithKey with the version that the request names, or the active one: whether a wrong version was
// used does not show in its result.
func (e *Engine) processWithOne(
	ctx context.Context, c *Call, r *audit.Record, action policy.Action, use KeyUse, purpose keys.Purpose,
	work func(*keys.Version, algs.Row) ([]byte, error),
) (SecretResult, error) {
	var out SecretResult
	r.Resource = use.Key
	keyID := use.KeyID
	if keyID == "" {
		// The active version's id is looked up by the plan again; a rotation in between asks for the one of before.
		if p, err := e.authorizeKey(c, action, use.Key); err == nil {
			keyID = p.active.ID
		}
	}
	err := e.processWithKey(ctx, c, r, action, use.Key, keyID, purpose, func(v *keys.Version, row algs.Row, warnings []string) (bool, error) {
		got, err := work(v, row)
		if err != nil {
			return false, err
		}
		out = SecretResult{Secret: got, KeyID: v.ID, Algorithm: string(row.Name), Warnings: warnings}
		r.Out = len(got)
		return true, nil
	}, nil)
	if err != nil {
		clear(out.Secret)
		return SecretResult{}, err
	}
	return out, nil
}

// Decapsulate returns the shared secret of a ciphertext. One that was not made for the key gives a secret that nobody else
// has (FIPS 203 section 6.3).
func (e *Engine) Decapsulate(ctx context.Context, c *Call, use KeyUse, ciphertext []byte) (SecretResult, error) {
	r := c.begin(policy.Decapsulate)
	r.In = len(ciphertext)
	return e.processWithOne(ctx, c, &r, policy.Decapsulate, use, keys.PurposeKEM, func(v *keys.Version, _ algs.Row) ([]byte, error) {
		private, err := e.opener(ctx, v)
		if err != nil {
			return nil, err
		}
		defer private.release()
		return private.key.Decapsulate(ciphertext)
	})
}

// AgreeRequest asks for a key agreed with a peer.
type AgreeRequest struct {
	KeyUse

	Peer    []byte // the peer's public key: 32 bytes of X25519, an uncompressed point
	PeerPEM string // or as SubjectPublicKeyInfo in PEM
	Salt    []byte
	Info    []byte
	Bytes   int // 0 means 32
}

// maxAgreed is the longest agreed key in bytes.
const maxAgreed = 1024

// Agree returns HKDF-SHA256 of the secret that a key object shares with a peer (RFC 5869; SP 800-56C section 5). The raw
// secret of the curve is no key and does not leave.
func (e *Engine) Agree(ctx context.Context, c *Call, in *AgreeRequest) (SecretResult, error) {
	r := c.begin(policy.Agree)
	r.In = len(in.Peer)
	n := in.Bytes
	if n == 0 {
		n = 32
	}
	return e.processWithOne(ctx, c, &r, policy.Agree, in.KeyUse, keys.PurposeAgree, func(v *keys.Version, row algs.Row) ([]byte, error) {
		if n < 16 || n > maxAgreed {
			return nil, malformedField("bytes", "is not between 16 and 1024")
		}
		if len(in.Salt) > maxAgreed || len(in.Info) > maxAgreed {
			return nil, malformedField("info", "and salt have at most 1024 bytes each")
		}
		peer, err := in.peer(row)
		if err != nil {
			return nil, err
		}
		shared, err := e.agree(ctx, v, peer)
		if err != nil {
			return nil, err
		}
		defer clear(shared)
		key, err := hkdf.Key(sha256.New, shared, in.Salt, string(in.Info), n)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "engine.agree", "", err)
		}
		return key, nil
	})
}

// peer returns the peer's public key, checked.
func (in *AgreeRequest) peer(row algs.Row) ([]byte, error) {
	peer := in.Peer
	switch {
	case len(in.Peer) != 0 && in.PeerPEM != "":
		return nil, malformedField("peer_public_key", "and peer_public_key_pem cannot both be given")
	case in.PeerPEM != "":
		var err error
		if peer, err = keyenc.ParsePEM(row.Name, []byte(in.PeerPEM)); err != nil {
			return nil, malformedField("peer_public_key_pem", "is not a public key of "+string(row.Name))
		}
	}
	if err := kem.CheckPublic(row.Name, peer); err != nil {
		return nil, malformedField("peer_public_key", "is not a public key of "+string(row.Name))
	}
	return peer, nil
}

// agree returns the raw shared secret, computed where the version's key is.
func (e *Engine) agree(ctx context.Context, v *keys.Version, peer []byte) ([]byte, error) {
	if len(v.Wrapped) != 0 {
		shared, err := e.vault.Agree(ctx, v.Algorithm, v.Wrapped, peer)
		if err != nil {
			return nil, err
		}
		return shared.Reveal(), nil
	}
	private, err := e.opener(ctx, v)
	if err != nil {
		return nil, err
	}
	defer private.release()
	return private.key.Agree(peer)
}

// KeyEncryptRequest asks to encrypt to a key object.
type KeyEncryptRequest struct {
	Key            string
	Plaintext      []byte
	Info           []byte // HPKE and ECIES
	AssociatedData []byte // not for RSA-OAEP with a key in the token
}

// KeyEncryptResult holds the ciphertext, in the form that the algorithm's standard gives it.
type KeyEncryptResult struct {
	Ciphertext []byte
	KeyID      string
	Algorithm  string
	Warnings   []string
}

// KeyEncrypt encrypts to the public half of a key object's active version, or with a symmetric key in the token.
func (e *Engine) KeyEncrypt(ctx context.Context, c *Call, in *KeyEncryptRequest) (KeyEncryptResult, error) {
	r := c.begin(policy.KeyEncrypt)
	r.Resource, r.In = in.Key, len(in.Plaintext)
	var out KeyEncryptResult
	err := e.protectWithKey(ctx, c, &r, policy.KeyEncrypt, in.Key, keys.PurposeEncrypt, func(p *plan, row algs.Row, warnings []string) error {
		ciphertext, err := e.keyEncrypt(ctx, p.active, row, in)
		if err != nil {
			return err
		}
		out = KeyEncryptResult{Ciphertext: ciphertext, KeyID: p.active.ID, Algorithm: string(row.Name), Warnings: warnings}
		r.Out = len(ciphertext)
		return nil
	})
	if err != nil {
		return KeyEncryptResult{}, err
	}
	return out, nil
}

func (e *Engine) keyEncrypt(ctx context.Context, v *keys.Version, row algs.Row, in *KeyEncryptRequest) ([]byte, error) {
	if row.Class != algs.ClassAEAD {
		return kem.Encrypt(row.Name, v.Public, in.Plaintext, in.Info, in.AssociatedData)
	}
	if len(in.Info) != 0 {
		return nil, malformedField("info", "is only for HPKE and ECIES")
	}
	// The token encrypts with the key itself under random nonces, so its messages are counted.
	if err := e.spend(ctx, v); err != nil {
		if errors.Is(err, errSuperseded) {
			return nil, errRaces
		}
		return nil, err
	}
	return e.vault.EncryptGCM(ctx, v.Wrapped, in.Plaintext, in.AssociatedData)
}

// KeyDecryptRequest asks to decrypt what was encrypted to a key object.
type KeyDecryptRequest struct {
	Key            string
	KeyID          string // the version it was encrypted to; empty tries them, newest first
	Ciphertext     []byte
	Info           []byte
	AssociatedData []byte
}

// KeyDecrypt decrypts. Every failure that depends on the ciphertext or the key is fault.DecryptFailed.
func (e *Engine) KeyDecrypt(ctx context.Context, c *Call, in *KeyDecryptRequest) (SecretResult, error) {
	r := c.begin(policy.KeyDecrypt)
	r.Resource, r.In = in.Key, len(in.Ciphertext)
	var out SecretResult
	err := e.processWithKey(ctx, c, &r, policy.KeyDecrypt, in.Key, in.KeyID, keys.PurposeEncrypt, func(v *keys.Version, row algs.Row, warnings []string) (bool, error) {
		plaintext, err := e.keyDecrypt(ctx, v, row, in)
		switch {
		case fault.Of(err) == fault.DecryptFailed:
			return false, nil
		case err != nil:
			return false, err
		}
		out = SecretResult{Secret: plaintext, KeyID: v.ID, Algorithm: string(row.Name), Warnings: warnings}
		r.Out = len(plaintext)
		return true, nil
	}, decryptFailed(causeTag))
	if err != nil {
		clear(out.Secret)
		return SecretResult{}, err
	}
	return out, nil
}

// keyDecrypt decrypts where the version's key is: in the token, or on this node.
func (e *Engine) keyDecrypt(ctx context.Context, v *keys.Version, row algs.Row, in *KeyDecryptRequest) ([]byte, error) {
	if len(v.Wrapped) != 0 {
		return e.tokenDecrypt(ctx, v, row, in)
	}
	private, err := e.opener(ctx, v)
	if err != nil {
		return nil, err
	}
	defer private.release()
	return private.key.Decrypt(in.Ciphertext, in.Info, in.AssociatedData)
}

func (e *Engine) tokenDecrypt(ctx context.Context, v *keys.Version, row algs.Row, in *KeyDecryptRequest) ([]byte, error) {
	switch row.Name {
	case algs.ECIESP256, algs.ECIESP384:
		ephemeral, err := kem.ECIESEphemeral(row.Name, in.Ciphertext)
		if err != nil {
			return nil, err
		}
		shared, err := e.vault.Agree(ctx, row.Name, v.Wrapped, ephemeral)
		if err != nil {
			return nil, err
		}
		defer shared.Destroy()
		return kem.ECIESOpen(row.Name, shared.Reveal(), v.Public, in.Ciphertext, in.Info, in.AssociatedData)
	case algs.RSAOAEP2048, algs.RSAOAEP3072, algs.RSAOAEP4096:
		return e.vault.DecryptOAEP(ctx, row.Name, v.Wrapped, in.Ciphertext, in.AssociatedData)
	default:
		return e.vault.DecryptGCM(ctx, v.Wrapped, in.Ciphertext, in.AssociatedData)
	}
}

package hsm

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/secret"
)

// Agree returns the shared secret of ECDH with the key of a blob and a peer's public key, an uncompressed point (SEC 1
// section 2.3.3): the x-coordinate, 32 bytes for P-256 and 48 for P-384 (SP 800-56A section 5.7.1.2). It is for an ECDH or
// ECIES algorithm, and no key yet: a KDF must follow.
//
// fault.Malformed with the field peer_public_key when that is no point on the curve. The token is not asked before.
func (t *Token) Agree(ctx context.Context, name algs.Name, blob, peer []byte) (secret.Bytes, error) {
	const op = "hsm.Agree"
	k, err := kindOf(op, name, pkcs11.CKM_ECDH1_DERIVE)
	if err != nil {
		return secret.Bytes{}, err
	}
	if _, err := k.curve.ecdh.NewPublicKey(peer); err != nil {
		return secret.Bytes{}, field(op, "peer_public_key", "it is not an uncompressed point on the curve of "+string(name))
	}
	var out []byte
	err = t.do(ctx, op, func(s *session) error {
		if err := t.offered(op, k); err != nil {
			return err
		}
		return t.withWrapped(ctx, op, s, k, blob, func(held *heldKey) error {
			out, err = t.agree(s, k.curve, held.handle, peer)
			return err
		})
	})
	if err != nil {
		return secret.Bytes{}, err
	}
	return secret.New(out), nil
}

// agree is C_DeriveKey with CKM_ECDH1_DERIVE and no KDF. The result is a session object that can be read, and is deleted.
func (t *Token) agree(s *session, c *curve, h pkcs11.ObjectHandle, peer []byte) (out []byte, err error) {
	mechanism := pkcs11.NewMechanism(pkcs11.CKM_ECDH1_DERIVE, pkcs11.NewECDH1DeriveParams(pkcs11.CKD_NULL, nil, peer))
	derived, err := t.module.DeriveKey(s.handle, []*pkcs11.Mechanism{mechanism}, h, append(encode(usages(secretUsages)),
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, c.bytes),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true)))
	if err != nil {
		return nil, err
	}
	out, err = read(t.module, s, derived, pkcs11.CKA_VALUE)
	if derr := t.destroy(s, derived); err == nil {
		err = derr
	}
	if err == nil && len(out) != c.bytes {
		err = fmt.Errorf("the token agreed on %d bytes, not %d", len(out), c.bytes)
	}
	if err != nil {
		clear(out)
		return nil, err
	}
	return out, nil
}

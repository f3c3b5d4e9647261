package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"

	"cryptoserve/engine/algs"
)

// GenerateWrapped is GenerateKey for the appliance's own P-256 pairs. Any token with the same wrapping key can use the blob by
// WrappedSigner.
func (t *Token) GenerateWrapped(ctx context.Context) (pub *ecdsa.PublicKey, blob []byte, err error) {
	key, blob, err := t.generateKind(ctx, "hsm.GenerateWrapped", kinds[algs.ECDSAP256])
	if err != nil {
		return nil, nil, err
	}
	return key.(*ecdsa.PublicKey), blob, nil
}

// WrappedSigner returns the signer of a key pair that GenerateWrapped made. It signs as NodeSigner does, and works across
// outages like it. A blob that is damaged, or not of this pair, fails at Sign.
func (t *Token) WrappedSigner(pub *ecdsa.PublicKey, blob []byte) crypto.Signer {
	return &wrappedSigner{t, pub, append([]byte(nil), blob...)}
}

type wrappedSigner struct {
	t    *Token
	pub  *ecdsa.PublicKey
	blob []byte
}

func (w *wrappedSigner) Public() crypto.PublicKey { return w.pub }

func (w *wrappedSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	const op = "hsm.WrappedSigner"
	digest, err = leftmost(op, digest, opts)
	if err != nil {
		return nil, err
	}
	raw, err := w.t.signDigest(context.Background(), op, kinds[algs.ECDSAP256], w.blob, hashes[algs.SHA256], digest,
		func(*heldKey) (crypto.PublicKey, error) { return w.pub, nil })
	if err != nil {
		return nil, err
	}
	return p256.derSignature(raw)
}

// derSignature turns r || s, each as long as a coordinate (PKCS#11 v2.40 mechanisms, section 2.3.1), into ASN.1 DER.
func (c *curve) derSignature(raw []byte) ([]byte, error) {
	if len(raw) != 2*c.bytes {
		return nil, fmt.Errorf("the token made a signature of %d bytes, not %d", len(raw), 2*c.bytes)
	}
	r, s := new(big.Int).SetBytes(raw[:c.bytes]), new(big.Int).SetBytes(raw[c.bytes:])
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}

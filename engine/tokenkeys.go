package engine

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keyenc"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/keywrap"
	"cryptoserve/engine/secret"
)

// setTokenPublic gives a version the public half of a pair that the token holds. A secret key has none.
func setTokenPublic(v *keys.Version, row algs.Row, spki []byte) error {
	if row.Class == algs.ClassMAC || row.Class == algs.ClassAEAD {
		return nil
	}
	public, err := keyenc.ParseSPKI(row.Name, spki)
	if err != nil {
		return fault.Wrap(fault.Internal, "engine.key", "", err)
	}
	v.Public = public
	return nil
}

// importPairBits is the strength of a pair that receives wrapped keys on a node.
const importPairBits = 3072

// makeImportPair gives an import a pair whose private half is sealed.
func (e *Engine) makeImportPair(ctx context.Context, i *keys.Import) error {
	private, err := rsa.GenerateKey(rand.Reader, importPairBits)
	if err != nil {
		return fault.Wrap(fault.Internal, "engine.import", "", err)
	}
	if i.Public, err = x509.MarshalPKIXPublicKey(&private.PublicKey); err != nil {
		return fault.Wrap(fault.Internal, "engine.import", "", err)
	}
	i.Hash = algs.SHA256
	der := x509.MarshalPKCS1PrivateKey(private)
	defer clear(der)
	i.Sealed, err = e.sealKey(ctx, i.Tenant, i.ID, 1, importAlgorithm, der)
	return err
}

// importAlgorithm names the private half of an import's pair where it is sealed.
const importAlgorithm = "RSA"

// maxWrapped is the longest wrapped key.
const maxWrapped = 16 << 10

// unwrapImported returns a key that came wrapped for a pair on this node.
func (e *Engine) unwrapImported(ctx context.Context, pair *keys.Import, wrapped []byte) (secret.Bytes, error) {
	der, err := e.unsealKey(ctx, pair.Tenant, pair.ID, 1, importAlgorithm, pair.Sealed)
	if err != nil {
		return secret.Bytes{}, err
	}
	defer der.Destroy()
	private, err := x509.ParsePKCS1PrivateKey(der.Reveal())
	if err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Internal, "engine.import", "", err)
	}
	key, err := keywrap.Unwrap(private, pair.Hash, wrapped, maxWrapped)
	if err != nil {
		return secret.Bytes{}, err
	}
	return secret.New(key), nil
}

// importIntoToken gives a version a key that is unwrapped inside the token only.
func (e *Engine) importIntoToken(ctx context.Context, row algs.Row, v *keys.Version, pair *keys.Import, in ImportRequest) error {
	if len(in.Wrapped) > maxWrapped {
		return malformedField("wrapped_key", "is too long")
	}
	var public []byte
	if in.Public != "" {
		block, rest := pem.Decode([]byte(in.Public))
		if block == nil || block.Type != "PUBLIC KEY" || len(rest) != 0 {
			return malformedField("public_key", "is not one PEM block PUBLIC KEY")
		}
		public = block.Bytes
	}
	spki, blob, err := e.vault.ImportWrapped(ctx, pair.Wrapped, row.Name, in.Wrapped, public)
	if err != nil {
		return err
	}
	v.Wrapped = blob
	return setTokenPublic(v, row, spki)
}

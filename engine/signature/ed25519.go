package signature

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"math/big"
	"slices"

	"cryptoserve/engine/algs"
)

type ed25519Scheme struct{}

func (ed25519Scheme) generate() (public, private []byte, err error) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, err
	}
	defer clear(key)
	return pub, key.Seed(), nil
}

func (ed25519Scheme) private(encoded []byte) (signer, error) {
	if len(encoded) != ed25519.SeedSize {
		return nil, errors.New("is not an Ed25519 seed of 32 bytes")
	}
	return ed25519Private(ed25519.NewKeyFromSeed(encoded)), nil
}

func (ed25519Scheme) public(encoded []byte) (verifier, error) {
	if err := validateEd25519(encoded); err != nil {
		return nil, err
	}
	return ed25519Public(slices.Clone(encoded)), nil
}

func (ed25519Scheme) settle(op string, o Options) (settings, error) {
	return selfHashing(op, o, algs.SHA512, false)
}

type ed25519Private ed25519.PrivateKey

func (k ed25519Private) sign(message []byte, s settings) ([]byte, error) {
	if s.prehashed {
		return ed25519.PrivateKey(k).Sign(nil, message, crypto.SHA512)
	}
	return ed25519.Sign(ed25519.PrivateKey(k), message), nil
}

func (k ed25519Private) public() ([]byte, error) {
	return slices.Clone(k[ed25519.SeedSize:]), nil
}

func (k ed25519Private) destroy() { clear(k) }

type ed25519Public ed25519.PublicKey

func (k ed25519Public) verify(message, signature []byte, s settings) bool {
	if s.prehashed {
		return ed25519.VerifyWithOptions(ed25519.PublicKey(k), message, signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
	}
	return ed25519.Verify(ed25519.PublicKey(k), message, signature)
}

// The field and curve of RFC 8032 section 5.1: p = 2^255 - 19 and -x^2 + y^2 = 1 + d x^2 y^2.
var (
	fieldP, _  = new(big.Int).SetString("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed", 16)
	curveD, _  = new(big.Int).SetString("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3", 16)
	bigOne     = big.NewInt(1)
	smallOrder = [][]byte{ // y of the points of order 1, 2, 4 and 8, little-endian
		append([]byte{1}, make([]byte, 31)...),
		append(append([]byte{0xec}, slices.Repeat([]byte{0xff}, 30)...), 0x7f),
		make([]byte, 32),
		{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
			0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
		{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
			0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	}
)

// validateEd25519 wants a canonical point of large order. crypto/ed25519 finds a key that is no point only when it verifies,
// and accepts signatures that anybody can make for a key of small order.
func validateEd25519(public []byte) error {
	if len(public) != ed25519.PublicKeySize {
		return errors.New("is not an Ed25519 public key of 32 bytes")
	}
	y := slices.Clone(public)
	y[31] &= 0x7f // the sign of x
	for _, small := range smallOrder {
		if slices.Equal(y, small) {
			return errors.New("is a point of small order")
		}
	}
	slices.Reverse(y)
	n := new(big.Int).SetBytes(y)
	if n.Cmp(fieldP) >= 0 {
		return errors.New("is not the canonical form of a point")
	}
	// x^2 = u/v with u = y^2 - 1 and v = d y^2 + 1 (RFC 8032 section 5.1.3). It has a root when u*v is a square.
	n.Mul(n, n).Mod(n, fieldP)
	v := new(big.Int).Mul(n, curveD)
	v.Add(v, bigOne)
	u := n.Sub(n, bigOne)
	if big.Jacobi(u.Mul(u, v).Mod(u, fieldP), fieldP) < 0 {
		return errors.New("is not a point of the curve")
	}
	return nil
}

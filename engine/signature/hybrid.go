package signature

import (
	"crypto/ed25519"
	"crypto/sha512"
	"errors"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"cryptoserve/engine/algs"
)

// What both halves of a hybrid sign begins with: draft-ietf-lamps-pq-composite-sigs, the sections on prefix, label and ctx
// and on algorithm parameters.
const (
	hybridPrefix = "CompositeAlgorithmSignatures2025"
	hybridLabel  = "COMPSIG-MLDSA65-Ed25519-SHA512"
)

// hybridScheme is Ed25519 and ML-DSA-65 together, as the package comment draws it.
type hybridScheme struct{}

func (hybridScheme) generate() (public, private []byte, err error) {
	public, private, err = ed25519Scheme{}.generate()
	if err != nil {
		return nil, nil, err
	}
	latticePublic, seed, err := mldsa65Scheme.generate()
	if err != nil {
		return nil, nil, err
	}
	defer clear(private)
	defer clear(seed)
	return joined(public, latticePublic), joined(private, seed), nil
}

func (hybridScheme) private(encoded []byte) (signer, error) {
	if len(encoded) != ed25519.SeedSize+mldsaSeed {
		return nil, errors.New("is not two seeds of 32 bytes")
	}
	classical, err := ed25519Scheme{}.private(encoded[:ed25519.SeedSize])
	if err != nil {
		return nil, err
	}
	lattice, err := mldsa65Scheme.private(encoded[ed25519.SeedSize:])
	if err != nil {
		return nil, err
	}
	return &hybridPrivate{classical: classical, lattice: lattice}, nil
}

func (hybridScheme) public(encoded []byte) (verifier, error) {
	if len(encoded) != ed25519.PublicKeySize+mldsa65.PublicKeySize {
		return nil, errors.New("is not an Ed25519 and an ML-DSA-65 public key, 1984 bytes together")
	}
	classical, err := ed25519Scheme{}.public(encoded[:ed25519.PublicKeySize])
	if err != nil {
		return nil, err
	}
	lattice, err := mldsa65Scheme.public(encoded[ed25519.PublicKeySize:])
	if err != nil {
		return nil, err
	}
	return &hybridPublic{classical: classical, lattice: lattice}, nil
}

func (hybridScheme) settle(op string, o Options) (settings, error) {
	return selfHashing(op, o, algs.SHA512, true)
}

type hybridPrivate struct {
	classical, lattice signer
}

func (k *hybridPrivate) sign(message []byte, s settings) ([]byte, error) {
	m := representative(message, s)
	first, err := k.classical.sign(m, settings{})
	if err != nil {
		return nil, err
	}
	second, err := k.lattice.sign(m, settings{context: []byte(hybridLabel), deterministic: s.deterministic})
	if err != nil {
		return nil, err
	}
	return joined(first, second), nil
}

func (k *hybridPrivate) public() ([]byte, error) {
	first, err := k.classical.public()
	if err != nil {
		return nil, err
	}
	second, err := k.lattice.public()
	return joined(first, second), err
}

func (k *hybridPrivate) destroy() {
	k.classical.destroy()
	k.lattice.destroy()
}

type hybridPublic struct {
	classical, lattice verifier
}

func (k *hybridPublic) verify(message, signature []byte, s settings) bool {
	if len(signature) != ed25519.SignatureSize+mldsa65.SignatureSize {
		return false
	}
	m := representative(message, s)
	first := k.classical.verify(m, signature[:ed25519.SignatureSize], settings{})
	second := k.lattice.verify(m, signature[ed25519.SignatureSize:], settings{context: []byte(hybridLabel)})
	return first && second
}

// representative returns M', which both halves sign.
func representative(message []byte, s settings) []byte {
	m := make([]byte, 0, len(hybridPrefix)+len(hybridLabel)+1+maxContext+sha512.Size)
	m = append(m, hybridPrefix...)
	m = append(m, hybridLabel...)
	m = append(m, byte(len(s.context))) //nolint:gosec // G115: settle refuses more than 255 bytes
	m = append(m, s.context...)
	if s.prehashed {
		return append(m, message...)
	}
	digest := sha512.Sum512(message)
	return append(m, digest[:]...)
}

func joined(a, b []byte) []byte {
	return append(append(make([]byte, 0, len(a)+len(b)), a...), b...)
}

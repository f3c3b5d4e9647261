package signature

import (
	"bytes"
	"fmt"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// scheme is one algorithm: it makes and reads keys and knows which options make sense.
type scheme interface {
	// generate returns a new pair in canonical form.
	generate() (public, private []byte, err error)
	// private reads a canonical private key. The encoding stays the caller's. Errors tell what is wrong and no value.
	private(encoded []byte) (signer, error)
	// public reads and validates a canonical public key. The encoding stays the caller's.
	public(encoded []byte) (verifier, error)
	// settle checks options and completes them.
	settle(op string, o Options) (settings, error)
}

type signer interface {
	sign(message []byte, s settings) ([]byte, error)
	// public returns the canonical public key; the caller may keep it.
	public() ([]byte, error)
	destroy()
}

type verifier interface {
	verify(message, signature []byte, s settings) bool
}

// schemes has a scheme for each row of class signature.
var schemes = map[algs.Name]scheme{
	algs.Ed25519:         ed25519Scheme{},
	algs.ECDSAP256:       ecdsaP256,
	algs.ECDSAP384:       ecdsaP384,
	algs.ECDSAP521:       ecdsaP521,
	algs.RSAPSS2048:      rsaScheme{bits: 2048, hash: algs.SHA256, pss: true},
	algs.RSAPSS3072:      rsaScheme{bits: 3072, hash: algs.SHA256, pss: true},
	algs.RSAPSS4096:      rsaScheme{bits: 4096, hash: algs.SHA384, pss: true},
	algs.RSAPKCS12048:    rsaScheme{bits: 2048, hash: algs.SHA256},
	algs.RSAPKCS13072:    rsaScheme{bits: 3072, hash: algs.SHA256},
	algs.RSAPKCS14096:    rsaScheme{bits: 4096, hash: algs.SHA384},
	algs.MLDSA44:         mldsa44Scheme,
	algs.MLDSA65:         mldsa65Scheme,
	algs.MLDSA87:         mldsa87Scheme,
	algs.SLHDSASHA2128s:  slhdsaSHA2128s,
	algs.SLHDSASHA2128f:  slhdsaSHA2128f,
	algs.SLHDSASHA2192s:  slhdsaSHA2192s,
	algs.SLHDSASHA2192f:  slhdsaSHA2192f,
	algs.SLHDSASHA2256s:  slhdsaSHA2256s,
	algs.SLHDSASHA2256f:  slhdsaSHA2256f,
	algs.SLHDSASHAKE128s: slhdsaSHAKE128s,
	algs.SLHDSASHAKE128f: slhdsaSHAKE128f,
	algs.SLHDSASHAKE192s: slhdsaSHAKE192s,
	algs.SLHDSASHAKE192f: slhdsaSHAKE192f,
	algs.SLHDSASHAKE256s: slhdsaSHAKE256s,
	algs.SLHDSASHAKE256f: slhdsaSHAKE256f,
	algs.Ed25519MLDSA65:  hybridScheme{},
}

func find(op string, name algs.Name) (scheme, error) {
	s, ok := schemes[name]
	if !ok {
		return nil, malformed(op, "algorithm", "is not a signature algorithm")
	}
	return s, nil
}

// Generate returns a new key pair in canonical form. Overwrite the private key when it is no longer needed. RSA with 4096
// bits takes seconds. Errors: fault.Malformed for a name that is no signature algorithm, fault.Internal.
func Generate(name algs.Name) (public, private []byte, err error) {
	const op = "signature.Generate"
	s, err := find(op, name)
	if err != nil {
		return nil, nil, err
	}
	public, private, err = s.generate()
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return public, private, nil
}

// PrivateKey signs. It holds what can be computed in advance, so keep it while it is used. Goroutines may share it.
type PrivateKey struct {
	name   algs.Name
	scheme scheme
	signer signer
	public []byte
}

// ParsePrivate reads a canonical private key, which it copies. What is not one is fault.Malformed. The root in an SLH-DSA
// key is not computed anew, which takes as long as making the key; ImportPKCS8 does that.
func ParsePrivate(name algs.Name, private []byte) (*PrivateKey, error) {
	const op = "signature.ParsePrivate"
	s, err := find(op, name)
	if err != nil {
		return nil, err
	}
	signer, err := s.private(private)
	if err != nil {
		return nil, malformed(op, "private_key", err.Error())
	}
	public, err := signer.public()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return &PrivateKey{name: name, scheme: s, signer: signer, public: public}, nil
}

// Algorithm returns the name that the key was parsed with.
func (k *PrivateKey) Algorithm() algs.Name { return k.name }

// Public returns the canonical public key. The caller may keep and change it.
func (k *PrivateKey) Public() []byte { return bytes.Clone(k.public) }

// Destroy overwrites the key as far as the libraries let us: their caches, and SLH-DSA keys, are left to the garbage
// collector. No other method may be called beside it; Sign refuses after it.
func (k *PrivateKey) Destroy() {
	if k.signer != nil {
		k.signer.destroy()
		k.signer = nil
	}
}

// Sign returns the signature of a message. Options that do not fit the algorithm, and a digest of the wrong length, are
// fault.Malformed.
func (k *PrivateKey) Sign(message []byte, o Options) ([]byte, error) {
	const op = "signature.Sign"
	s, err := k.scheme.settle(op, o)
	if err != nil {
		return nil, err
	}
	if err := s.checkDigest(op, message); err != nil {
		return nil, err
	}
	if k.signer == nil {
		return nil, fault.New(fault.Internal, op, "the key was destroyed")
	}
	signature, err := k.signer.sign(message, s)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return signature, nil
}

// PublicKey verifies. Goroutines may share it.
type PublicKey struct {
	name     algs.Name
	scheme   scheme
	verifier verifier
	encoded  []byte
}

// ParsePublic reads a canonical public key and validates it as the package comment says. What is not one is
// fault.Malformed.
func ParsePublic(name algs.Name, public []byte) (*PublicKey, error) {
	const op = "signature.ParsePublic"
	s, err := find(op, name)
	if err != nil {
		return nil, err
	}
	v, err := s.public(public)
	if err != nil {
		return nil, malformed(op, "public_key", err.Error())
	}
	return &PublicKey{name: name, scheme: s, verifier: v, encoded: bytes.Clone(public)}, nil
}

// Algorithm returns the name that the key was parsed with.
func (k *PublicKey) Algorithm() algs.Name { return k.name }

// Bytes returns the canonical public key. The caller may keep and change it.
func (k *PublicKey) Bytes() []byte { return bytes.Clone(k.encoded) }

// Verify returns nil when the signature is one of the message under the key, and ErrInvalid when it is not, whatever the
// reason. Options that do not fit the algorithm, and a digest of the wrong length, are fault.Malformed.
func (k *PublicKey) Verify(message, signature []byte, o Options) error {
	const op = "signature.Verify"
	s, err := k.scheme.settle(op, o)
	if err != nil {
		return err
	}
	if err := s.checkDigest(op, message); err != nil {
		return err
	}
	if !k.verifier.verify(message, signature, s) {
		return ErrInvalid
	}
	return nil
}

// Format writes the algorithm for every verb, never the key.
func (k PrivateKey) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("private key of " + string(k.name)))
}

package kem

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// Limits in bytes of what goes into an encryption to a public key. Longer data is for a cipher whose key is encapsulated.
const (
	MaxPlaintext = 16 << 20
	MaxInfo      = 1<<16 - 1
	MaxAAD       = 1 << 20
)

// Size tells the sizes in bytes that belong to an algorithm. Zero means that there is no such thing; for the keys of RSA,
// that it differs from key to key by some bytes.
type Size struct {
	Public       int
	Private      int
	Ciphertext   int // of an encapsulation, or of RSA-OAEP
	Secret       int // encapsulated or agreed
	Overhead     int // how much longer an HPKE or ECIES ciphertext is than its plaintext
	MaxPlaintext int // of one encryption
}

// scheme is one algorithm. What its methods say about a bad key is a reason.
type scheme interface {
	size() Size
	generate() (public, private []byte, err error)
	parsePrivate(b []byte) (privateKey, error)
	parsePublic(b []byte) (publicKey, error)
	// fromPKCS8 returns the canonical private key.
	fromPKCS8(k pkcs8Key) ([]byte, error)
}

// expander is a scheme whose private keys also have the expanded form of FIPS 203.
type expander interface {
	parseExpanded(b []byte) (privateKey, error)
}

// A privateKey also is a decapsulator, an agreer or a decrypter.
type privateKey interface {
	public() []byte
}

type decapsulator interface {
	decapsulate(ciphertext []byte) (secret []byte, err error)
}

type agreer interface {
	agree(peerPublic []byte) (secret []byte, err error)
}

type decrypter interface {
	decrypt(ciphertext, info, aad []byte) ([]byte, error)
}

// A publicKey is an encapsulator, an encrypter, or only checked.
type publicKey any

type encapsulator interface {
	encapsulate() (ciphertext, secret []byte, err error)
}

type encrypter interface {
	encrypt(plaintext, info, aad []byte) ([]byte, error)
}

// Sizes returns the sizes of an algorithm.
func Sizes(name algs.Name) (Size, error) {
	s, err := lookup("kem.Sizes", name)
	if err != nil {
		return Size{}, err
	}
	return s.size(), nil
}

// Generate returns a new key pair in canonical form. RSA takes up to some seconds. An algorithm that is read only is
// fault.AlgorithmDisallowed.
func Generate(name algs.Name) (public, private []byte, err error) {
	const op = "kem.Generate"
	s, err := lookupProtect(op, name)
	if err != nil {
		return nil, nil, err
	}
	if public, private, err = s.generate(); err != nil {
		return nil, nil, fault.Wrap(fault.Internal, op, "the key pair could not be made", err)
	}
	return public, private, nil
}

// CheckPublic tells whether a public key may be used with the algorithm: fault.Malformed if not.
func CheckPublic(name algs.Name, public []byte) error {
	s, err := lookup("kem.CheckPublic", name)
	if err != nil {
		return err
	}
	_, err = parsePublic("kem.CheckPublic", s, public)
	return err
}

// PublicKey is a checked public key, ready for use. Goroutines may share it.
type PublicKey struct {
	name    algs.Name
	size    Size
	key     publicKey
	encoded []byte
}

// ParsePublic checks a public key and readies it for many uses. An algorithm that is read only is
// fault.AlgorithmDisallowed.
func ParsePublic(name algs.Name, public []byte) (*PublicKey, error) {
	const op = "kem.ParsePublic"
	s, err := lookupProtect(op, name)
	if err != nil {
		return nil, err
	}
	key, err := parsePublic(op, s, public)
	if err != nil {
		return nil, err
	}
	return &PublicKey{name: name, size: s.size(), key: key, encoded: bytes.Clone(public)}, nil
}

// Algorithm returns the name that the key was parsed for.
func (p *PublicKey) Algorithm() algs.Name { return p.name }

// Bytes returns the public key as it was parsed. The caller may keep and change it.
func (p *PublicKey) Bytes() []byte { return bytes.Clone(p.encoded) }

// Encapsulate makes a secret that only the private key gets out of the ciphertext again. fault.Malformed when the algorithm
// is not a key encapsulation.
func (p *PublicKey) Encapsulate() (ciphertext, secret []byte, err error) {
	const op = "kem.Encapsulate"
	key, ok := p.key.(encapsulator)
	if !ok {
		return nil, nil, wrongAlgorithm(op, "does not encapsulate keys")
	}
	if ciphertext, secret, err = key.encapsulate(); err != nil {
		return nil, nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return ciphertext, secret, nil
}

// Encrypt encrypts to the public key. info binds the purpose, aad the circumstances; both may be empty, and decryption needs
// the same. fault.TooLarge for a plaintext longer than the algorithm's MaxPlaintext, fault.Malformed when the algorithm
// does not encrypt, or is RSA-OAEP and info is not empty.
func (p *PublicKey) Encrypt(plaintext, info, aad []byte) ([]byte, error) {
	const op = "kem.Encrypt"
	key, ok := p.key.(encrypter)
	if !ok {
		return nil, wrongAlgorithm(op, "does not encrypt to a public key")
	}
	if err := checkBound(op, info, aad); err != nil {
		return nil, err
	}
	if limit := p.size.MaxPlaintext; len(plaintext) > limit {
		return nil, tooLarge(op, "plaintext", limit)
	}
	return key.encrypt(plaintext, info, aad)
}

// Encapsulate is ParsePublic and PublicKey.Encapsulate for a key that is used once.
func Encapsulate(name algs.Name, public []byte) (ciphertext, secret []byte, err error) {
	key, err := ParsePublic(name, public)
	if err != nil {
		return nil, nil, err
	}
	return key.Encapsulate()
}

// Encrypt is ParsePublic and PublicKey.Encrypt for a key that is used once.
func Encrypt(name algs.Name, public, plaintext, info, aad []byte) ([]byte, error) {
	key, err := ParsePublic(name, public)
	if err != nil {
		return nil, err
	}
	return key.Encrypt(plaintext, info, aad)
}

// PrivateKey is a private key, ready for many uses. Goroutines may share it, also beside Destroy.
type PrivateKey struct {
	name   algs.Name
	size   Size
	public []byte
	key    atomic.Pointer[privateKey] // nil once destroyed
}

// ParsePrivate reads a private key in canonical form. It keeps no reference to the bytes.
func ParsePrivate(name algs.Name, private []byte) (*PrivateKey, error) {
	const op = "kem.ParsePrivate"
	s, err := lookup(op, name)
	if err != nil {
		return nil, err
	}
	if n := s.size().Private; n != 0 && len(private) != n {
		return nil, wrongLength(op, "private_key", n)
	}
	key, err := s.parsePrivate(private)
	if err != nil {
		return nil, badKey(op, "private_key", err)
	}
	return newPrivateKey(name, s, key), nil
}

// ParseExpanded reads an ML-KEM decapsulation key in the expanded form of FIPS 203 section 6.1: s || ek || H(ek) || z, of
// 1632, 2400 or 3168 bytes. It does the checks of section 7.3 (length and hash), those of section 7.2 on the encapsulation
// key inside, and a pairwise test, so that a damaged key is refused rather than giving wrong secrets. The name may be ML-KEM
// or a hybrid with ML-KEM alone.
func ParseExpanded(name algs.Name, expanded []byte) (*PrivateKey, error) {
	const op = "kem.ParseExpanded"
	s, err := lookup(op, name)
	if err != nil {
		return nil, err
	}
	e, ok := s.(expander)
	if !ok {
		return nil, wrongAlgorithm(op, "has no expanded private keys")
	}
	key, err := e.parseExpanded(expanded)
	if err != nil {
		return nil, badKey(op, "private_key", err)
	}
	return newPrivateKey(name, s, key), nil
}

func newPrivateKey(name algs.Name, s scheme, key privateKey) *PrivateKey {
	k := &PrivateKey{name: name, size: s.size(), public: key.public()}
	k.key.Store(&key)
	return k
}

// Destroy makes the key unusable and lets go of it; an operation that has begun goes on to its end. The parsed form belongs to
// the libraries and is left to the garbage collector: they give no way to overwrite it.
func (k *PrivateKey) Destroy() { k.key.Store(nil) }

// Algorithm returns the name that the key was parsed for.
func (k *PrivateKey) Algorithm() algs.Name { return k.name }

// use returns the key as a T, one of the things that private keys do. unfit tells what an algorithm without it lacks.
func use[T any](k *PrivateKey, op, unfit string) (T, error) {
	var none T
	p := k.key.Load()
	if p == nil {
		return none, fault.New(fault.KeyState, op, "the key is no longer there")
	}
	key, ok := (*p).(T)
	if !ok {
		return none, wrongAlgorithm(op, unfit)
	}
	return key, nil
}

// Public returns the public key in canonical form, also after Destroy. The caller may keep and change it.
func (k *PrivateKey) Public() []byte { return bytes.Clone(k.public) }

// Format writes the algorithm for every verb, never the key.
func (k *PrivateKey) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("private key of " + string(k.name)))
}

// Decapsulate returns the secret that the ciphertext encapsulates. A ciphertext of another length is fault.Malformed; one of
// the right length that was not made for this key gives another secret and no error, except that P256MLKEM768 answers
// fault.DecryptFailed to a point that is not on its curve.
func (k *PrivateKey) Decapsulate(ciphertext []byte) ([]byte, error) {
	const op = "kem.Decapsulate"
	key, err := use[decapsulator](k, op, "does not encapsulate keys")
	if err != nil {
		return nil, err
	}
	if len(ciphertext) != k.size.Ciphertext {
		return nil, wrongLength(op, "ciphertext", k.size.Ciphertext)
	}
	secret, err := key.decapsulate(ciphertext)
	if err != nil {
		return nil, decryptFailed(op, causePoint)
	}
	return secret, nil
}

// Agree returns the secret shared with the owner of a public key of the same algorithm; fault.Malformed when that key is
// malformed, off the curve or of low order. The secret must go through a key derivation before it is a key.
func (k *PrivateKey) Agree(peerPublic []byte) ([]byte, error) {
	const op = "kem.Agree"
	key, err := use[agreer](k, op, "does not agree on keys")
	if err != nil {
		return nil, err
	}
	if len(peerPublic) != k.size.Public {
		return nil, wrongLength(op, "peer_public_key", k.size.Public)
	}
	secret, err := key.agree(peerPublic)
	if err != nil {
		return nil, unusablePublic(op, "peer_public_key")
	}
	return secret, nil
}

// Decrypt opens what Encrypt made with the same info and aad. Every failure that depends on the ciphertext or its key is
// fault.DecryptFailed.
func (k *PrivateKey) Decrypt(ciphertext, info, aad []byte) ([]byte, error) {
	const op = "kem.Decrypt"
	key, err := use[decrypter](k, op, "does not encrypt to a public key")
	if err != nil {
		return nil, err
	}
	if err := checkBound(op, info, aad); err != nil {
		return nil, err
	}
	if len(ciphertext) > k.size.Overhead+MaxPlaintext {
		return nil, decryptFailed(op, causeFrame)
	}
	return key.decrypt(ciphertext, info, aad)
}

func parsePublic(op string, s scheme, public []byte) (publicKey, error) {
	if n := s.size().Public; n != 0 && len(public) != n {
		return nil, wrongLength(op, "public_key", n)
	}
	key, err := s.parsePublic(public)
	if err != nil {
		return nil, badKey(op, "public_key", err)
	}
	return key, nil
}

func checkBound(op string, info, aad []byte) error {
	if len(info) > MaxInfo {
		return tooLarge(op, "info", MaxInfo)
	}
	if len(aad) > MaxAAD {
		return tooLarge(op, "associated_data", MaxAAD)
	}
	return nil
}

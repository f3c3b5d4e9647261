package kem

import (
	"crypto"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/subtle"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cloudflare/circl/kem/xwing"
)

const secretBytes = 32

// The object identifiers of RFC 9935 section 3 and of draft-connolly-cfrg-xwing-kem-10 section 5.8.
const (
	oidMLKEM512  = "2.16.840.1.101.3.4.4.1"
	oidMLKEM768  = "2.16.840.1.101.3.4.4.2"
	oidMLKEM1024 = "2.16.840.1.101.3.4.4.3"
	oidXWing     = "1.3.6.1.4.1.62253.25722"
)

var (
	mlkem512Scheme = expandable{circlScheme{mlkem512.Scheme(), oidMLKEM512}}
	mlkem768Scheme = moduleScheme{
		expandable: expandable{circlScheme{mlkem768.Scheme(), oidMLKEM768}},
		newKey: func() (crypto.Decapsulator, []byte, error) {
			key, err := mlkem.GenerateKey768()
			if err != nil {
				return nil, nil, err
			}
			return key, key.Bytes(), nil
		},
		private: func(seed []byte) (crypto.Decapsulator, error) { return mlkem.NewDecapsulationKey768(seed) },
		public:  func(b []byte) (crypto.Encapsulator, error) { return mlkem.NewEncapsulationKey768(b) },
	}
	mlkem1024Scheme = moduleScheme{
		expandable: expandable{circlScheme{mlkem1024.Scheme(), oidMLKEM1024}},
		newKey: func() (crypto.Decapsulator, []byte, error) {
			key, err := mlkem.GenerateKey1024()
			if err != nil {
				return nil, nil, err
			}
			return key, key.Bytes(), nil
		},
		private: func(seed []byte) (crypto.Decapsulator, error) { return mlkem.NewDecapsulationKey1024(seed) },
		public:  func(b []byte) (crypto.Encapsulator, error) { return mlkem.NewEncapsulationKey1024(b) },
	}
	xwingScheme = circlScheme{xwing.Scheme(), oidXWing}
)

// circlScheme is a key encapsulation of circl whose private key is its seed.
type circlScheme struct {
	kem kem.Scheme
	oid string
}

func (s circlScheme) size() Size {
	return Size{
		Public: s.kem.PublicKeySize(), Private: s.kem.SeedSize(),
		Ciphertext: s.kem.CiphertextSize(), Secret: s.kem.SharedKeySize(),
	}
}

func (s circlScheme) generate() (public, private []byte, err error) {
	private = make([]byte, s.kem.SeedSize())
	if _, err := rand.Read(private); err != nil {
		return nil, nil, err
	}
	key, err := s.parsePrivate(private)
	if err != nil {
		return nil, nil, err
	}
	return key.public(), private, nil
}

func (s circlScheme) parsePrivate(seed []byte) (privateKey, error) {
	_, key := s.kem.DeriveKeyPair(seed)
	return circlPrivate{s.kem, key}, nil
}

func (s circlScheme) parsePublic(b []byte) (publicKey, error) {
	key, err := s.kem.UnmarshalBinaryPublicKey(b)
	if err != nil {
		return nil, errModulus
	}
	return circlPublic{s.kem, key}, nil
}

// fromPKCS8 reads X-Wing; expandable does ML-KEM.
func (s circlScheme) fromPKCS8(k pkcs8Key) ([]byte, error) { return k.rawSeed(s.oid, s.kem.SeedSize()) }

type circlPrivate struct {
	kem kem.Scheme
	key kem.PrivateKey
}

func (k circlPrivate) public() []byte {
	b, err := k.key.Public().MarshalBinary()
	if err != nil {
		return nil // cannot be: circl packs into an array
	}
	return b
}

func (k circlPrivate) decapsulate(ciphertext []byte) ([]byte, error) {
	return k.kem.Decapsulate(k.key, ciphertext)
}

type circlPublic struct {
	kem kem.Scheme
	key kem.PublicKey
}

func (k circlPublic) encapsulate() (ciphertext, secret []byte, err error) {
	return k.kem.Encapsulate(k.key)
}

// expandable is an ML-KEM of circl, which also reads and writes the expanded private key.
type expandable struct{ circlScheme }

// parseExpanded does the checks that circl leaves out: that the encapsulation key and the secret vector are reduced (what was
// packed packs to the same bytes again) and that both belong together.
func (s expandable) parseExpanded(b []byte) (privateKey, error) {
	const damaged reason = "it is not a decapsulation key of FIPS 203"
	key, err := s.kem.UnmarshalBinaryPrivateKey(b)
	if err != nil {
		return nil, damaged
	}
	again, err := key.MarshalBinary()
	if err != nil || subtle.ConstantTimeCompare(again, b) != 1 {
		return nil, damaged
	}
	clear(again)
	ciphertext, secret, err := s.kem.Encapsulate(key.Public())
	if err != nil {
		return nil, err
	}
	got, err := s.kem.Decapsulate(key, ciphertext)
	if err != nil || subtle.ConstantTimeCompare(got, secret) != 1 {
		return nil, damaged
	}
	return circlPrivate{s.kem, key}, nil
}

func (s expandable) fromPKCS8(k pkcs8Key) ([]byte, error) { return k.mlkemSeed(s.oid, s.expand) }

// expand gives the expanded form of the key that a seed of 64 bytes makes: FIPS 203 algorithm 16.
func (s expandable) expand(seed []byte) ([]byte, error) {
	_, key := s.kem.DeriveKeyPair(seed)
	return key.MarshalBinary()
}

// moduleScheme is an ML-KEM of the Go module. Only expanded keys, which the module does not read, are circl's.
type moduleScheme struct {
	expandable
	newKey  func() (key crypto.Decapsulator, seed []byte, err error)
	private func(seed []byte) (crypto.Decapsulator, error)
	public  func(b []byte) (crypto.Encapsulator, error)
}

func (s moduleScheme) generate() (public, private []byte, err error) {
	key, seed, err := s.newKey()
	if err != nil {
		return nil, nil, err
	}
	return key.Encapsulator().Bytes(), seed, nil
}

func (s moduleScheme) parsePrivate(seed []byte) (privateKey, error) {
	key, err := s.private(seed)
	if err != nil {
		return nil, errModulus
	}
	return modulePrivate{key}, nil
}

func (s moduleScheme) parsePublic(b []byte) (publicKey, error) {
	key, err := s.public(b)
	if err != nil {
		return nil, errModulus
	}
	return modulePublic{key}, nil
}

type modulePrivate struct{ key crypto.Decapsulator }

func (k modulePrivate) public() []byte { return k.key.Encapsulator().Bytes() }

func (k modulePrivate) decapsulate(ciphertext []byte) ([]byte, error) {
	return k.key.Decapsulate(ciphertext)
}

type modulePublic struct{ key crypto.Encapsulator }

var _ encapsulator = modulePublic{}

func (k modulePublic) encapsulate() (ciphertext, secret []byte, err error) {
	secret, ciphertext = k.key.Encapsulate()
	return ciphertext, secret, nil
}

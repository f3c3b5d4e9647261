package keywrap

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // #nosec G505 -- for OAEP of tokens that have no other hash
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	kwp "github.com/tink-crypto/tink-go/v2/kwp/subtle"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// SHA1 names the hash of RSA-OAEP in tokens that have no other. It is no algorithm of the appliance.
const SHA1 algs.Name = "SHA-1"

const (
	// MinKey and MaxKey are the shortest and the longest key that can be wrapped, in bytes.
	MinKey = kwp.MinWrapSize
	MaxKey = kwp.MaxWrapSize

	transportBytes = 32
	minBits        = 2048
	maxBits        = 16384
)

func hashOf(name algs.Name) (func() hash.Hash, bool) {
	switch name {
	case algs.SHA256:
		return sha256.New, true
	case SHA1:
		return sha1.New, true
	default:
		return nil, false
	}
}

// Wrap wraps a key of MinKey to MaxKey bytes for an RSA key of 2048 to 16384 bits. fault.Malformed when one of the two has
// another size, fault.AlgorithmDisallowed when the hash is neither SHA-256 nor SHA1.
func Wrap(pub *rsa.PublicKey, hashName algs.Name, key []byte) ([]byte, error) {
	const op = "keywrap.Wrap"
	newHash, ok := hashOf(hashName)
	if !ok {
		return nil, badHash(op)
	}
	if bits := pub.N.BitLen(); bits < minBits || bits > maxBits {
		return nil, field(op, "public_key", fmt.Sprintf("it is not an RSA key of %d to %d bits", minBits, maxBits))
	}
	if len(key) < MinKey || len(key) > MaxKey {
		return nil, field(op, "key", fmt.Sprintf("a key to wrap has %d to %d bytes", MinKey, MaxKey))
	}
	transport := make([]byte, transportBytes)
	defer clear(transport)
	_, _ = rand.Read(transport) // never fails
	wrapped, err := rsa.EncryptOAEP(newHash(), rand.Reader, pub, transport, nil)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	aes, err := kwp.NewKWP(transport)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	body, err := aes.Wrap(key)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return append(wrapped, body...), nil
}

// Unwrap returns the key that Wrap was given, or any program that follows the standard, if it has most bytes or fewer. Whatever
// does not unwrap is one error: fault.Malformed with the field wrapped_key.
func Unwrap(private *rsa.PrivateKey, hashName algs.Name, wrapped []byte, most int) ([]byte, error) {
	const op = "keywrap.Unwrap"
	if _, ok := hashOf(hashName); !ok {
		return nil, badHash(op)
	}
	block := private.Size()
	if len(wrapped) < block || len(wrapped)-block > min(most, MaxKey)+15 || most < MinKey {
		return nil, badKey(errors.New("it has another length"))
	}
	transport, err := openBlock(private, hashName, wrapped[:block])
	if err != nil {
		return nil, badKey(err)
	}
	defer clear(transport)
	if len(transport) != transportBytes {
		return nil, badKey(errors.New("the transport key is not of AES-256"))
	}
	key, err := unwrapAES(transport, wrapped[block:])
	if err != nil {
		return nil, badKey(err)
	}
	if len(key) > most {
		clear(key)
		return nil, badKey(errors.New("the key is too long"))
	}
	return key, nil
}

// openBlock is RSA-OAEP decryption with a hash that hashOf knows.
func openBlock(private *rsa.PrivateKey, hashName algs.Name, block []byte) ([]byte, error) {
	newHash, _ := hashOf(hashName)
	return rsa.DecryptOAEP(newHash(), nil, private, block, nil)
}

func unwrapAES(transport, wrapped []byte) ([]byte, error) {
	aes, err := kwp.NewKWP(transport)
	if err != nil {
		return nil, err
	}
	return aes.Unwrap(wrapped)
}

func badHash(op string) error {
	return fault.New(fault.AlgorithmDisallowed, op, "keys are wrapped by RSA-OAEP with SHA-256 or SHA-1 only")
}

func badKey(cause error) error {
	const detail = "it is not a key that was wrapped for this import"
	return &fault.Error{Kind: fault.Malformed, Op: "keywrap.Unwrap", Detail: detail, Err: cause,
		Fields: []fault.Field{{Name: "wrapped_key", Detail: detail}}}
}

func field(op, name, detail string) error {
	return &fault.Error{Kind: fault.Malformed, Op: op, Detail: detail, Fields: []fault.Field{{Name: name, Detail: detail}}}
}

package kem

import (
	"crypto/ecdh"
	"crypto/rand"
)

// curve is a group for Diffie-Hellman with its sizes in bytes. It does what agreement and ECIES have in common.
type curve struct {
	ecdh    ecdh.Curve
	private int
	public  int
	secret  int
}

func (c curve) generate() (public, private []byte, err error) {
	key, err := c.ecdh.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	return key.PublicKey().Bytes(), key.Bytes(), nil
}

func (c curve) parse(b []byte) (*ecdh.PrivateKey, error) {
	key, err := c.ecdh.NewPrivateKey(b)
	if err != nil {
		return nil, errScalar
	}
	return key, nil
}

func (c curve) point(b []byte) (*ecdh.PublicKey, error) {
	key, err := c.ecdh.NewPublicKey(b)
	if err != nil {
		return nil, errPoint
	}
	return key, nil
}

func (c curve) fromPKCS8(k pkcs8Key) ([]byte, error) { return k.scalar(c) }

// agreement is Diffie-Hellman as it stands.
type agreement struct{ curve }

func (s agreement) size() Size {
	return Size{Public: s.public, Private: s.private, Secret: s.secret}
}

func (s agreement) parsePrivate(b []byte) (privateKey, error) {
	key, err := s.parse(b)
	if err != nil {
		return nil, err
	}
	return agreementKey{key}, nil
}

func (s agreement) parsePublic(b []byte) (publicKey, error) { return s.point(b) }

type agreementKey struct{ key *ecdh.PrivateKey }

func (k agreementKey) public() []byte { return k.key.PublicKey().Bytes() }

func (k agreementKey) agree(peerPublic []byte) ([]byte, error) {
	peer, err := k.key.Curve().NewPublicKey(peerPublic)
	if err != nil {
		return nil, errPoint
	}
	return k.key.ECDH(peer)
}

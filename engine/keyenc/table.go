package keyenc

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/x509"
	"encoding/asn1"
	"errors"

	"github.com/cloudflare/circl/kem/mlkem/mlkem512"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// family is what the forms of a key have in common.
type family uint8

const (
	familyUnknown  family = iota
	familyOctet           // a point of Curve25519 or Ed25519
	familyEC              // an uncompressed point
	familyRSA             // RSAPublicKey
	familyLattice         // ML-DSA and ML-KEM
	familyHashes          // SLH-DSA
	familyUnshaped        // no form but the canonical one
)

// kind is how the public keys of an algorithm are written.
type kind struct {
	family family
	oid    asn1.ObjectIdentifier // of the AlgorithmIdentifier
	curve  asn1.ObjectIdentifier // its parameters, with familyEC
	crv    string                // of a JWK, with familyEC and familyOctet
	alg    string                // of a JWK; where it is empty with familyLattice there is no JWK
	size   int                   // bytes of the canonical key, bits of the modulus with familyRSA
}

var (
	oidEC  = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}     // RFC 5480 section 2.1.1
	oidRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1} // RFC 3279 section 2.3.1

	x25519  = kind{family: familyOctet, oid: asn1.ObjectIdentifier{1, 3, 101, 110}, crv: "X25519", size: 32}
	p256    = kind{family: familyEC, oid: oidEC, curve: asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, crv: "P-256", size: 65}
	p384    = kind{family: familyEC, oid: oidEC, curve: asn1.ObjectIdentifier{1, 3, 132, 0, 34}, crv: "P-384", size: 97}
	p521    = kind{family: familyEC, oid: oidEC, curve: asn1.ObjectIdentifier{1, 3, 132, 0, 35}, crv: "P-521", size: 133}
	rsa2048 = kind{family: familyRSA, oid: oidRSA, size: 2048}
	rsa3072 = kind{family: familyRSA, oid: oidRSA, size: 3072}
	rsa4096 = kind{family: familyRSA, oid: oidRSA, size: 4096}
	bare    = kind{family: familyUnshaped}
)

// kinds has a row for each algorithm of the classes that have public keys.
var kinds = map[algs.Name]kind{
	algs.Ed25519:         {family: familyOctet, oid: asn1.ObjectIdentifier{1, 3, 101, 112}, crv: "Ed25519", size: 32},
	algs.ECDSAP256:       p256,
	algs.ECDSAP384:       p384,
	algs.ECDSAP521:       p521,
	algs.RSAPSS2048:      rsa2048,
	algs.RSAPSS3072:      rsa3072,
	algs.RSAPSS4096:      rsa4096,
	algs.RSAPKCS12048:    rsa2048,
	algs.RSAPKCS13072:    rsa3072,
	algs.RSAPKCS14096:    rsa4096,
	algs.MLDSA44:         {family: familyLattice, oid: nist(3, 17), alg: "ML-DSA-44", size: 1312},
	algs.MLDSA65:         {family: familyLattice, oid: nist(3, 18), alg: "ML-DSA-65", size: 1952},
	algs.MLDSA87:         {family: familyLattice, oid: nist(3, 19), alg: "ML-DSA-87", size: 2592},
	algs.SLHDSASHA2128s:  {family: familyHashes, oid: nist(3, 20), size: 32},
	algs.SLHDSASHA2128f:  {family: familyHashes, oid: nist(3, 21), size: 32},
	algs.SLHDSASHA2192s:  {family: familyHashes, oid: nist(3, 22), size: 48},
	algs.SLHDSASHA2192f:  {family: familyHashes, oid: nist(3, 23), size: 48},
	algs.SLHDSASHA2256s:  {family: familyHashes, oid: nist(3, 24), size: 64},
	algs.SLHDSASHA2256f:  {family: familyHashes, oid: nist(3, 25), size: 64},
	algs.SLHDSASHAKE128s: {family: familyHashes, oid: nist(3, 26), size: 32},
	algs.SLHDSASHAKE128f: {family: familyHashes, oid: nist(3, 27), size: 32},
	algs.SLHDSASHAKE192s: {family: familyHashes, oid: nist(3, 28), size: 48},
	algs.SLHDSASHAKE192f: {family: familyHashes, oid: nist(3, 29), size: 48},
	algs.SLHDSASHAKE256s: {family: familyHashes, oid: nist(3, 30), size: 64},
	algs.SLHDSASHAKE256f: {family: familyHashes, oid: nist(3, 31), size: 64},
	algs.Ed25519MLDSA65:  bare,

	algs.MLKEM512:                   {family: familyLattice, oid: nist(4, 1), size: mlkem512.PublicKeySize},
	algs.MLKEM768:                   {family: familyLattice, oid: nist(4, 2), size: mlkem.EncapsulationKeySize768},
	algs.MLKEM1024:                  {family: familyLattice, oid: nist(4, 3), size: mlkem.EncapsulationKeySize1024},
	algs.XWing:                      bare,
	algs.X25519:                     x25519,
	algs.ECDHP256:                   p256,
	algs.ECDHP384:                   p384,
	algs.HPKEX25519AES256GCM:        x25519,
	algs.HPKEX25519ChaCha20Poly1305: x25519,
	algs.HPKEP256AES128GCM:          p256,
	algs.HPKEP256AES256GCM:          p256,
	algs.HPKEP384AES256GCM:          p384,
	algs.HPKEMLKEM768P256:           bare,
	algs.HPKEMLKEM768X25519:         bare,
	algs.ECIESX25519:                x25519,
	algs.ECIESP256:                  p256,
	algs.ECIESP384:                  p384,
	algs.RSAOAEP2048:                rsa2048,
	algs.RSAOAEP3072:                rsa3072,
	algs.RSAOAEP4096:                rsa4096,
}

// nist returns an identifier of the arc nistAlgorithms: 3 for signatures (RFC 9881 section 2, RFC 9909 section 3), 4 for key
// encapsulation (RFC 9935 section 3).
func nist(arc, last int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, arc, last}
}

// find returns the row of an algorithm.
func find(op string, name algs.Name) (kind, error) {
	k, ok := kinds[name]
	if !ok {
		return kind{}, malformed(op, "algorithm", "has no public keys")
	}
	return k, nil
}

// check refuses what is not a canonical public key.
func (k kind) check(name algs.Name, public []byte) error {
	if k.family == familyRSA {
		return k.checkRSA(public)
	}
	if len(public) != k.size {
		return errors.New("is not as long as a public key of the algorithm")
	}
	var err error
	switch {
	case k.crv == "P-256":
		_, err = ecdh.P256().NewPublicKey(public)
	case k.crv == "P-384":
		_, err = ecdh.P384().NewPublicKey(public)
	case k.crv == "P-521":
		_, err = ecdh.P521().NewPublicKey(public)
	case name == algs.MLKEM512:
		err = new(mlkem512.PublicKey).Unpack(public)
	case name == algs.MLKEM768:
		_, err = mlkem.NewEncapsulationKey768(public)
	case name == algs.MLKEM1024:
		_, err = mlkem.NewEncapsulationKey1024(public)
	}
	if err != nil {
		return errors.New("is not a valid public key of the algorithm")
	}
	return nil
}

func (k kind) checkRSA(public []byte) error {
	key, err := x509.ParsePKCS1PublicKey(public)
	switch {
	case err != nil || !bytes.Equal(x509.MarshalPKCS1PublicKey(key), public):
		return errors.New("is not an RSA public key in PKCS#1 DER")
	case key.N.BitLen() != k.size || key.N.Bit(0) == 0:
		return errors.New("has a modulus that is even or of another size than the algorithm's")
	case key.E < 65537 || key.E&1 == 0:
		return errors.New("has a public exponent that is even or below 65537")
	default:
		return nil
	}
}

func malformed(op, field, detail string) error {
	fields := []fault.Field{{Name: field, Detail: detail}}
	return &fault.Error{Kind: fault.Malformed, Op: op, Detail: field + " " + detail, Fields: fields}
}

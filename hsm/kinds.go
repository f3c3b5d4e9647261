package hsm

import (
	"crypto/ecdh"
	"crypto/elliptic"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

// kind is a sort of key that lives in the token and leaves it only wrapped. One row says everything about it: how it is
// made, with which attributes it is unwrapped and what may be done with it.
type kind struct {
	name     algs.Name
	class    uint   // CKO_PRIVATE_KEY, wrapped by cs-wrap-private; or CKO_SECRET_KEY, wrapped by cs-wrap-secret
	keyType  uint   // CKK_
	generate uint   // the mechanism that makes it
	use      uint   // the only mechanism that it may be used with
	usages   []uint // CKA_ usages of the secret or private half; every other one is false
	public   uint   // CKA_ usage of the public half
	curve    *curve // of an EC key
	bits     int    // of an RSA modulus, or of a secret key
	oaep     *oaep  // of a key that decrypts or unwraps by RSA-OAEP
}

// curve is an elliptic curve under the names that the parts know it by.
type curve struct {
	elliptic elliptic.Curve
	ecdh     ecdh.Curve
	oid      []byte // DER of the object identifier, CKA_EC_PARAMS (RFC 5480 section 2.1.1.1)
	bytes    int    // of a coordinate, and of half a signature
}

var (
	p256 = &curve{elliptic.P256(), ecdh.P256(), oidP256, 32}
	p384 = &curve{elliptic.P384(), ecdh.P384(), []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, 48}
	p521 = &curve{elliptic.P521(), ecdh.P521(), []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23}, 66}
)

// oidP256 is the DER of the object identifier 1.2.840.10045.3.1.7.
var oidP256 = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

// kindRows has a row for each algorithm that is offered with its key in the token.
var kindRows = []*kind{
	ecKind(algs.ECDSAP256, p256, pkcs11.CKM_ECDSA, pkcs11.CKA_SIGN),
	ecKind(algs.ECDSAP384, p384, pkcs11.CKM_ECDSA, pkcs11.CKA_SIGN),
	ecKind(algs.ECDSAP521, p521, pkcs11.CKM_ECDSA, pkcs11.CKA_SIGN),
	ecKind(algs.ECDHP256, p256, pkcs11.CKM_ECDH1_DERIVE, pkcs11.CKA_DERIVE),
	ecKind(algs.ECDHP384, p384, pkcs11.CKM_ECDH1_DERIVE, pkcs11.CKA_DERIVE),
	ecKind(algs.ECIESP256, p256, pkcs11.CKM_ECDH1_DERIVE, pkcs11.CKA_DERIVE),
	ecKind(algs.ECIESP384, p384, pkcs11.CKM_ECDH1_DERIVE, pkcs11.CKA_DERIVE),
	rsaKind(algs.RSAPSS2048, 2048, pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKA_SIGN),
	rsaKind(algs.RSAPSS3072, 3072, pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKA_SIGN),
	rsaKind(algs.RSAPSS4096, 4096, pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKA_SIGN),
	rsaKind(algs.RSAPKCS12048, 2048, pkcs11.CKM_RSA_PKCS, pkcs11.CKA_SIGN),
	rsaKind(algs.RSAPKCS13072, 3072, pkcs11.CKM_RSA_PKCS, pkcs11.CKA_SIGN),
	rsaKind(algs.RSAPKCS14096, 4096, pkcs11.CKM_RSA_PKCS, pkcs11.CKA_SIGN),
	oaepKind(algs.RSAOAEP2048, 2048),
	oaepKind(algs.RSAOAEP3072, 3072),
	oaepKind(algs.RSAOAEP4096, 4096),
	secretKind(algs.AES256GCM, pkcs11.CKK_AES, pkcs11.CKM_AES_GCM, pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT),
	secretKind(algs.HMACSHA256, pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_SHA256_HMAC, pkcs11.CKA_SIGN),
	secretKind(algs.HMACSHA384, pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_SHA384_HMAC, pkcs11.CKA_SIGN),
	secretKind(algs.HMACSHA512, pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_SHA512_HMAC, pkcs11.CKA_SIGN),
	secretKind(algs.AES128CMAC, pkcs11.CKK_AES, pkcs11.CKM_AES_CMAC, pkcs11.CKA_SIGN),
	secretKind(algs.AES256CMAC, pkcs11.CKK_AES, pkcs11.CKM_AES_CMAC, pkcs11.CKA_SIGN),
}

var kinds = func() map[algs.Name]*kind {
	m := make(map[algs.Name]*kind, len(kindRows))
	for _, k := range kindRows {
		m[k.name] = k
	}
	return m
}()

func ecKind(name algs.Name, c *curve, use uint, usage uint) *kind {
	k := &kind{name: name, class: pkcs11.CKO_PRIVATE_KEY, keyType: pkcs11.CKK_EC, generate: pkcs11.CKM_EC_KEY_PAIR_GEN,
		use: use, usages: []uint{usage}, curve: c}
	if usage == pkcs11.CKA_SIGN {
		k.public = pkcs11.CKA_VERIFY
	} // a public key has no usage for agreement
	return k
}

func rsaKind(name algs.Name, bits int, use uint, usage uint) *kind {
	public := map[uint]uint{
		pkcs11.CKA_SIGN: pkcs11.CKA_VERIFY, pkcs11.CKA_DECRYPT: pkcs11.CKA_ENCRYPT, pkcs11.CKA_UNWRAP: pkcs11.CKA_WRAP,
	}
	return &kind{name: name, class: pkcs11.CKO_PRIVATE_KEY, keyType: pkcs11.CKK_RSA, generate: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
		use: use, usages: []uint{usage}, public: public[usage], bits: bits}
}

func oaepKind(name algs.Name, bits int) *kind {
	k := rsaKind(name, bits, pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.CKA_DECRYPT)
	k.oaep = oaepSHA256
	return k
}

func secretKind(name algs.Name, keyType, use uint, usages ...uint) *kind {
	row, _ := algs.Lookup(name)
	generate := uint(pkcs11.CKM_GENERIC_SECRET_KEY_GEN)
	if keyType == pkcs11.CKK_AES {
		generate = pkcs11.CKM_AES_KEY_GEN
	}
	return &kind{name: name, class: pkcs11.CKO_SECRET_KEY, keyType: keyType, generate: generate,
		use: use, usages: usages, bits: int(row.KeyBits)}
}

func (k *kind) pair() bool { return k.class == pkcs11.CKO_PRIVATE_KEY }

// wrapping returns the key that wraps keys of this kind.
func (k *kind) wrapping(keys *keySet) pkcs11.ObjectHandle {
	if k.pair() {
		return keys.wrapPrivate
	}
	return keys.wrapSecret
}

// unwrapTemplate is what a key of this kind is unwrapped with: a sensitive session object that cannot be had out again,
// for its one mechanism. The wrapping key's unwrap template asks for the first rows; SoftHSM2 wants them stated.
func (k *kind) unwrapTemplate() []*pkcs11.Attribute {
	return k.template(unwrapAs(k.class), k.usages, k.use)
}

// freshTemplate is what a key of this kind is made or imported with, until it is wrapped. It can be had out by wrapping
// only, because it is sensitive.
func (k *kind) freshTemplate(allowed []uint, mechanisms ...uint) []*pkcs11.Attribute {
	return k.template([]attribute{
		{"CKA_CLASS", pkcs11.CKA_CLASS, k.class},
		{"CKA_TOKEN", pkcs11.CKA_TOKEN, false},
		{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true},
		{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, true},
	}, allowed, mechanisms...)
}

func (k *kind) template(rows []attribute, allowed []uint, mechanisms ...uint) []*pkcs11.Attribute {
	all := secretUsages
	if k.pair() {
		all = privateUsages
	}
	return encode(slices.Concat(rows, []attribute{
		{"CKA_KEY_TYPE", pkcs11.CKA_KEY_TYPE, k.keyType},
		{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true},
		{"CKA_ALLOWED_MECHANISMS", pkcs11.CKA_ALLOWED_MECHANISMS, p11.Mechanisms(mechanisms...)},
	}, usages(all, allowed...)))
}

// kindOf returns the row of an algorithm whose key does what the caller wants, told by the mechanisms that do it; any, if
// none is given.
func kindOf(op string, name algs.Name, use ...uint) (*kind, error) {
	k := kinds[name]
	if k == nil {
		if _, known := algs.Lookup(name); !known {
			return nil, fault.New(fault.AlgorithmDisallowed, op, "this algorithm is not known")
		}
		return nil, fault.New(fault.AlgorithmDisallowed, op,
			"the token does not wrap keys of algorithm "+string(name)+", so they cannot have protection hsm")
	}
	if len(use) > 0 && !slices.Contains(use, k.use) {
		return nil, fault.New(fault.AlgorithmDisallowed, op, "a key of algorithm "+string(name)+" does not do this")
	}
	return k, nil
}

// missing returns the mechanisms that a kind needs and the token lacks.
func (k *kind) missing(has map[uint]bool) (lacks []string) {
	for _, m := range []uint{k.generate, k.use} {
		if !has[m] {
			lacks = append(lacks, mechanismName(m))
		}
	}
	return lacks
}

// offered refuses a kind that the token lacks a mechanism for.
func (t *Token) offered(op string, k *kind) error {
	if lacks := k.missing(*t.mechanisms.Load()); len(lacks) > 0 {
		return fault.New(fault.AlgorithmDisallowed, op,
			"the token cannot keep keys of algorithm "+string(k.name)+": it has no "+strings.Join(lacks, ", "))
	}
	return nil
}

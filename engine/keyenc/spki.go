package keyenc

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

const (
	// maxInput bounds what is parsed. The longest key, of ML-DSA-87, has 3.6 KiB as PEM.
	maxInput = 16 << 10

	pemType  = "PUBLIC KEY" // RFC 7468 section 13
	pemBegin = "-----BEGIN "
)

// MarshalSPKI returns a canonical public key as the DER of a SubjectPublicKeyInfo (RFC 5280 section 4.1). Algorithms without
// that form, and what is not a key of the algorithm, are fault.Malformed.
func MarshalSPKI(name algs.Name, public []byte) ([]byte, error) {
	const op = "keyenc.MarshalSPKI"
	k, err := shaped(op, name)
	if err != nil {
		return nil, err
	}
	if err := k.check(name, public); err != nil {
		return nil, malformed(op, "public_key", err.Error())
	}
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(k.oid)
			switch k.family {
			case familyEC:
				b.AddASN1ObjectIdentifier(k.curve)
			case familyRSA:
				b.AddASN1NULL()
			default: // no parameters
			}
		})
		b.AddASN1BitString(public)
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err)
	}
	return out, nil
}

// ParseSPKI returns the canonical public key in the DER of a SubjectPublicKeyInfo, which must be one of the algorithm. For
// what it accepts MarshalSPKI gives the same DER. Everything else is fault.Malformed.
func ParseSPKI(name algs.Name, spki []byte) ([]byte, error) {
	const op = "keyenc.ParseSPKI"
	k, err := shaped(op, name)
	if err != nil {
		return nil, err
	}
	public, err := k.parse(name, spki)
	if err != nil {
		return nil, malformed(op, "public_key", err.Error())
	}
	return public, nil
}

func shaped(op string, name algs.Name) (kind, error) {
	k, err := find(op, name)
	if err == nil && k.family == familyUnshaped {
		err = malformed(op, "format", "does not exist for the algorithm, whose public keys have the raw form only")
	}
	return k, err
}

func (k kind) parse(name algs.Name, spki []byte) ([]byte, error) {
	var body, algorithm cryptobyte.String
	var oid asn1.ObjectIdentifier
	var public []byte
	if len(spki) > maxInput {
		return nil, errors.New("is longer than 16 KiB")
	}
	input := cryptobyte.String(spki)
	if !input.ReadASN1(&body, der.SEQUENCE) || !input.Empty() ||
		!body.ReadASN1(&algorithm, der.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) ||
		!body.ReadASN1BitStringAsBytes(&public) || !body.Empty() {
		return nil, errors.New("is not the DER of a SubjectPublicKeyInfo")
	}
	if !oid.Equal(k.oid) {
		return nil, errors.New("is of another algorithm")
	}
	switch k.family {
	case familyEC:
		var curve asn1.ObjectIdentifier
		if !algorithm.ReadASN1ObjectIdentifier(&curve) || !curve.Equal(k.curve) {
			return nil, errors.New("is of another curve, or of one without a name")
		}
	case familyRSA:
		var null cryptobyte.String
		if !algorithm.ReadASN1(&null, der.NULL) || !null.Empty() {
			return nil, errors.New("has other parameters than NULL")
		}
	default: // no parameters
	}
	if !algorithm.Empty() {
		return nil, errors.New("has parameters that its algorithm does not have")
	}
	if err := k.check(name, public); err != nil {
		return nil, err
	}
	return bytes.Clone(public), nil
}

// PEM returns a canonical public key as one PEM block of type PUBLIC KEY (RFC 7468 section 13). Errors are those of
// MarshalSPKI.
func PEM(name algs.Name, public []byte) ([]byte, error) {
	spki, err := MarshalSPKI(name, public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: spki}), nil
}

// ParsePEM returns the canonical public key in a PEM text that holds exactly one block of type PUBLIC KEY, without headers,
// and nothing else but white space around it. Everything else is fault.Malformed.
func ParsePEM(name algs.Name, text []byte) ([]byte, error) {
	const op = "keyenc.ParsePEM"
	k, err := shaped(op, name)
	if err != nil {
		return nil, err
	}
	refuse := func(detail string) ([]byte, error) { return nil, malformed(op, "public_key", detail) }
	if len(text) > maxInput {
		return refuse("is longer than 16 KiB")
	}
	// pem.Decode looks for the first block that it understands, so what is around that one is looked at here.
	text = bytes.TrimSpace(text)
	if !bytes.HasPrefix(text, []byte(pemBegin)) || bytes.Count(text, []byte(pemBegin)) != 1 {
		return refuse("is not exactly one PEM block")
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil || len(rest) != 0:
		return refuse("is not exactly one PEM block")
	case block.Type != pemType:
		return refuse("is a PEM block of another type than PUBLIC KEY")
	case len(block.Headers) != 0:
		return refuse("has PEM headers")
	}
	public, err := k.parse(name, block.Bytes)
	if err != nil {
		return refuse(err.Error())
	}
	return public, nil
}

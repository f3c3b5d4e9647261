package signintest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// IDToken is an ID token on its way to the client. An Edit may change all of it; it is signed afterwards.
type IDToken struct {
	Header map[string]any
	Claims map[string]any
	// Sign makes the signature over the encoded header and claims. See Signer.
	Sign func(input []byte) ([]byte, error)
}

// Signer returns a function that signs as a JOSE algorithm does (RFC 7518 section 3): none (the key is nil), HS256 (bytes),
// RS256 and RS512 (*rsa.PrivateKey), ES256 (*ecdsa.PrivateKey) or EdDSA (ed25519.PrivateKey).
func Signer(alg string, key any) func([]byte) ([]byte, error) {
	return func(input []byte) ([]byte, error) {
		short := sha256.Sum256(input)
		switch k := key.(type) {
		case nil:
			return nil, nil
		case []byte:
			m := hmac.New(sha256.New, k)
			m.Write(input)
			return m.Sum(nil), nil
		case *rsa.PrivateKey:
			if alg == "RS512" {
				long := sha512.Sum512(input)
				return rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA512, long[:])
			}
			return rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, short[:])
		case *ecdsa.PrivateKey:
			r, s, err := ecdsa.Sign(rand.Reader, k, short[:])
			if err != nil {
				return nil, err
			}
			out := make([]byte, 64)
			r.FillBytes(out[:32])
			s.FillBytes(out[32:])
			return out, nil
		case ed25519.PrivateKey:
			return ed25519.Sign(k, input), nil
		default:
			return nil, errors.New("signintest: a key of an unknown type")
		}
	}
}

// rewrite takes an encoded ID token apart, lets edit change it and puts it together again.
func rewrite(token string, sign func([]byte) ([]byte, error), edit func(*IDToken)) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("signintest: the ID token has not three parts")
	}
	t := IDToken{Sign: sign}
	for i, into := range []*map[string]any{&t.Header, &t.Claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return "", err
		}
	}
	edit(&t)
	for i, from := range []map[string]any{t.Header, t.Claims} {
		raw, err := json.Marshal(from)
		if err != nil {
			return "", err
		}
		parts[i] = base64.RawURLEncoding.EncodeToString(raw)
	}
	signature, err := t.Sign([]byte(parts[0] + "." + parts[1]))
	if err != nil {
		return "", err
	}
	return parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

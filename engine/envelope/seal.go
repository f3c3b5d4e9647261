package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/lp"
)

// Errors of Open. The caller of the API sees neither: they are for the audit record.
var (
	ErrCommitment = errors.New("envelope: key commitment differs")
	ErrTag        = errors.New("envelope: authentication failed")
)

// KeyBytes is the length of a data key.
const KeyBytes = 32

// Params names what a frame is made for.
type Params struct {
	Format    int
	Context   string
	KeyID     string
	Algorithm algs.Name
}

// Seal appends the frame of plaintext to dst. dst must not overlap plaintext or associated. The DEK has KeyBytes bytes.
func Seal(dst []byte, p Params, dek, plaintext, associated []byte) ([]byte, error) {
	if len(dek) != KeyBytes || p.Algorithm != algs.AES256GCM {
		return nil, fmt.Errorf("envelope: no construction for %q with a key of %d bytes", p.Algorithm, len(dek))
	}
	if !validName(p.Context) || !validName(p.KeyID) {
		return nil, errors.New("envelope: name with characters that no header holds")
	}
	switch p.Format {
	case 4:
		return seal4(dst, p, dek, plaintext, associated)
	case 3:
		return seal3(dst, p, dek, plaintext, associated)
	default:
		return nil, fmt.Errorf("envelope: format %d is not written", p.Format)
	}
}

// Open checks the commitment, then decrypts, and appends the plaintext to dst. It returns ErrCommitment or ErrTag.
func (f *Frame) Open(dst, dek, associated []byte) ([]byte, error) {
	if len(dek) != KeyBytes || f.Algorithm != algs.AES256GCM {
		return nil, ErrCommitment
	}
	if f.Format == 4 {
		return f.open4(dst, dek, associated)
	}
	return f.open3(dst, dek, associated)
}

func seal4(dst []byte, p Params, dek, plaintext, associated []byte) ([]byte, error) {
	var salt [SaltBytes]byte
	rand.Read(salt[:])
	okm, err := messageKeys(dek, p.Algorithm, &salt)
	if err != nil {
		return nil, err
	}
	defer clear(okm)
	start := len(dst)
	dst = appendHeader(dst, p, func(b []byte) []byte {
		b = append(b, `,"salt":"`...)
		b = strictBase64.AppendEncode(b, salt[:])
		b = append(b, `","kc":"`...)
		b = strictBase64.AppendEncode(b, okm[KeyBytes:])
		return append(b, `"}`...)
	})
	aead, err := randomNonceGCM(okm[:KeyBytes])
	if err != nil {
		return nil, err
	}
	return aead.Seal(dst, nil, plaintext, joined(dst[start:], associated)), nil //nolint:gosec // it draws the nonce itself
}

func (f *Frame) open4(dst, dek, associated []byte) ([]byte, error) {
	okm, err := messageKeys(dek, f.Algorithm, &f.Salt)
	if err != nil {
		return nil, err
	}
	defer clear(okm)
	if subtle.ConstantTimeCompare(okm[KeyBytes:], f.Commitment[:]) != 1 {
		return nil, ErrCommitment
	}
	aead, err := randomNonceGCM(okm[:KeyBytes])
	if err != nil {
		return nil, err
	}
	out, err := aead.Open(dst, nil, f.body, joined(f.prefix, associated))
	if err != nil {
		return nil, ErrTag
	}
	return out, nil
}

func seal3(dst []byte, p Params, dek, plaintext, associated []byte) ([]byte, error) {
	aead, err := randomNonceGCM(dek)
	if err != nil {
		return nil, err
	}
	// The nonce belongs in the header, before the body, but is drawn by the AEAD: seal first, then put both in place.
	room := make([]byte, 0, NonceBytes+len(plaintext)+TagBytes)
	sealed := aead.Seal(room, nil, plaintext, associated) //nolint:gosec // it draws the nonce itself
	dst = appendHeader(dst, p, func(b []byte) []byte {
		b = append(b, `,"mode":"gcm","nonce":"`...)
		b = strictBase64.AppendEncode(b, sealed[:NonceBytes])
		b = append(b, `","kc":"`...)
		kc := commitment3(dek)
		b = strictBase64.AppendEncode(b, kc[:])
		if len(associated) > 0 {
			return append(b, `","aad":true}`...)
		}
		return append(b, `","aad":false}`...)
	})
	return append(dst, sealed[NonceBytes:]...), nil
}

func (f *Frame) open3(dst, dek, associated []byte) ([]byte, error) {
	kc := commitment3(dek)
	if subtle.ConstantTimeCompare(kc[:], f.Commitment[:]) != 1 {
		return nil, ErrCommitment
	}
	if f.HasAAD != (len(associated) > 0) {
		return nil, ErrTag
	}
	aead, err := randomNonceGCM(dek)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, 0, NonceBytes+len(f.body))
	sealed = append(append(sealed, f.nonce[:]...), f.body...)
	out, err := aead.Open(dst, nil, sealed, associated)
	if err != nil {
		return nil, ErrTag
	}
	return out, nil
}

// messageKeys returns encryption key (32) || commitment (32) of one format 4 message.
func messageKeys(dek []byte, alg algs.Name, salt *[SaltBytes]byte) ([]byte, error) {
	var buf [96]byte
	info := lp.Append(buf[:0], "cryptoserve/4")
	info = lp.Append(info, string(alg))
	info = lp.Append(info, salt[:])
	return hkdf.Expand(sha256.New, dek, string(info), KeyBytes+CommitmentBytes)
}

// commitment3 is the key commitment of format 3: specification section 3.2.
func commitment3(dek []byte) [sha256.Size]byte {
	h := hmac.New(sha256.New, dek)
	h.Write([]byte("key-commitment-v1"))
	return [sha256.Size]byte(h.Sum(nil))
}

// randomNonceGCM returns AES-GCM that draws its own nonce and puts it before the ciphertext: the form that stays approved
// in FIPS 140-3 (SP 800-38D section 8.2.2).
func randomNonceGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// appendHeader appends header length || header; rest writes what comes after the fields that both formats share.
func appendHeader(dst []byte, p Params, rest func([]byte) []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0)
	dst = append(dst, `{"v":`...)
	dst = strconv.AppendInt(dst, int64(p.Format), 10)
	dst = append(dst, `,"ctx":"`...)
	dst = append(dst, p.Context...)
	dst = append(dst, `","kid":"`...)
	dst = append(dst, p.KeyID...)
	dst = append(dst, `","alg":"`...)
	dst = append(dst, p.Algorithm...)
	dst = append(dst, '"')
	dst = rest(dst)
	// Names are bounded, so a header is far below MaxHeader.
	binary.BigEndian.PutUint16(dst[start:], uint16(len(dst)-start-2)) //nolint:gosec // see above
	return dst
}

// joined returns a || b, without copying when there is no b.
func joined(a, b []byte) []byte {
	if len(b) == 0 {
		return a
	}
	return append(append(make([]byte, 0, len(a)+len(b)), a...), b...)
}

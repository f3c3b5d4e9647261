package envelope

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cryptoserve/engine/aead"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/lp"
)

// layout4 is how format 4 protects the body for one algorithm.
type layout4 struct {
	body   algs.Name // the construction, of package aead
	keys   int       // bytes of its key
	hybrid bool
}

var layouts4 = map[algs.Name]*layout4{
	algs.AES128GCM:        plain4(algs.AES128GCM),
	algs.AES192GCM:        plain4(algs.AES192GCM),
	algs.AES256GCM:        plain4(algs.AES256GCM),
	algs.AES256CBC:        plain4(algs.AES256CBC),
	algs.AES256CTR:        plain4(algs.AES256CTR),
	algs.AES256CCM:        plain4(algs.AES256CCM),
	algs.AES256GCMSIV:     plain4(algs.AES256GCMSIV),
	algs.ChaCha20Poly1305: plain4(algs.ChaCha20Poly1305),

	algs.AES256GCMMLKEM768:       hybrid4,
	algs.AES256GCMMLKEM1024:      hybrid4,
	algs.X25519MLKEM768AES256GCM: hybrid4,
	algs.P256MLKEM768AES256GCM:   hybrid4,
}

func plain4(name algs.Name) *layout4 {
	return &layout4{body: name, keys: aead.KeyBytes(name)}
}

var hybrid4 = &layout4{body: algs.AES256GCM, keys: aead.KeyBytes(algs.AES256GCM), hybrid: true}

// unknown4 stands for what no frame is written with, where the work of a wrong key is to be done.
var unknown4 = plain4(algs.AES256GCM)

// sealer is aead.Seal, but for tests that give a nonce.
type sealer func(dst []byte, name algs.Name, key, plaintext, associated []byte) ([]byte, error)

// More bytes than a header of format 4 has beside its names, and than an AEAD adds to a plaintext.
const (
	headerRoom = 200
	roomAround = 64
)

func seal4(dst []byte, p *Params, l *layout4, dek []byte, salt *[SaltBytes]byte, plaintext, associated []byte, seal sealer) ([]byte, error) {
	okm, err := messageKeys(dek, p.Algorithm, p.Encapsulated, salt, l.keys)
	if err != nil {
		return nil, err
	}
	defer clear(okm)
	key, kc := cut(okm)
	names := len(p.Context) + len(p.KeyID) + len(p.Algorithm)
	dst = slices.Grow(dst, headerRoom+names+len(p.Encapsulated)+len(plaintext)+roomAround)
	start := len(dst)
	dst = appendHeader4(dst, p, salt, kc, false)
	end := len(dst)
	dst = append(dst, p.Encapsulated...)
	return seal(dst, l.body, key, plaintext, joined(dst[start:end], associated))
}

func appendHeader4(dst []byte, p *Params, salt *[SaltBytes]byte, kc []byte, stream bool) []byte {
	start := len(dst)
	dst = beginHeader(dst, p)
	if n := len(p.Encapsulated); n > 0 {
		dst = append(dst, `","kem_ct_len":`...)
		dst = strconv.AppendInt(dst, int64(n), 10)
		dst = append(dst, `,"salt":"`...)
	} else {
		dst = append(dst, `","salt":"`...)
	}
	dst = strictBase64.AppendEncode(dst, salt[:])
	dst = append(dst, `","kc":"`...)
	dst = strictBase64.AppendEncode(dst, kc)
	if stream {
		dst = append(dst, `","seg":65536}`...)
	} else {
		dst = append(dst, `"}`...)
	}
	endHeader(dst, start)
	return dst
}

func (f *Frame) open4(dst, dek, associated []byte) ([]byte, error) {
	okm, err := messageKeys(dek, f.Algorithm, f.Encapsulated, &f.Salt, f.layout.keys)
	if err != nil {
		return nil, err
	}
	defer clear(okm)
	if !f.committed(okm) {
		return nil, ErrCommitment
	}
	key, _ := cut(okm)
	out, err := aead.Open(dst, f.layout.body, key, f.body, joined(f.prefix, associated))
	return out, tagError(err)
}

// messageKeys returns keys (keyBytes) || commitment (32) of one format 4 message.
func messageKeys(dek []byte, alg algs.Name, encapsulated []byte, salt *[SaltBytes]byte, keyBytes int) ([]byte, error) {
	var buf [96]byte
	info := lp.Append(buf[:0], "cryptoserve/4")
	info = lp.Append(info, string(alg))
	info = lp.Append(info, salt[:])
	if len(encapsulated) > 0 {
		info = lp.Append(info, encapsulated)
	}
	return hkdf.Expand(sha256.New, dek, string(info), keyBytes+CommitmentBytes)
}

// cut parts what messageKeys returns.
func cut(okm []byte) (key, commitment []byte) {
	n := len(okm) - CommitmentBytes
	return okm[:n:n], okm[n:]
}

// committed reports, in constant time, whether the last 32 bytes of okm are the frame's commitment.
func (f *Frame) committed(okm []byte) bool {
	_, kc := cut(okm)
	return subtle.ConstantTimeCompare(kc, f.Commitment[:]) == 1
}

// tagError turns the one failure of an AEAD into ErrTag.
func tagError(err error) error {
	if errors.Is(err, aead.ErrOpen) {
		return ErrTag
	}
	return err
}

// StreamHeader returns the prefix of a new stream and the key (32 bytes) of its segments. The associated data of the segments
// is prefix || associated data of the caller. Format 4 and AES-256-GCM only; the DEK has KeyBytes bytes.
func StreamHeader(p Params, dek []byte) (prefix, key []byte, err error) {
	if p.Format != 4 || p.Algorithm != algs.AES256GCM || len(p.Encapsulated) > 0 {
		return nil, nil, fmt.Errorf("envelope: no stream of %q in format %d", p.Algorithm, p.Format)
	}
	if err := p.check(dek, KeyBytes); err != nil {
		return nil, nil, err
	}
	var salt [SaltBytes]byte
	_, _ = rand.Read(salt[:]) // never returns an error: crypto/rand documents that it ends the program instead
	return streamHeader(&p, dek, &salt)
}

func streamHeader(p *Params, dek []byte, salt *[SaltBytes]byte) (prefix, key []byte, err error) {
	okm, err := messageKeys(dek, p.Algorithm, nil, salt, KeyBytes)
	if err != nil {
		return nil, nil, err
	}
	key, kc := cut(okm)
	return appendHeader4(nil, p, salt, kc, true), key, nil
}

// StreamKey returns the key (32 bytes) of the segments of a stream, after it has checked the commitment in constant time. A
// frame that is not a stream, or a DEK that has not KeyBytes bytes, costs the work of a wrong key and is ErrCommitment.
func (f *Frame) StreamKey(dek []byte) ([]byte, error) {
	if !f.Stream || len(dek) != KeyBytes {
		f.Pretend(nil)
		return nil, ErrCommitment
	}
	okm, err := messageKeys(dek, f.Algorithm, nil, &f.Salt, KeyBytes)
	if err != nil {
		return nil, err
	}
	if !f.committed(okm) {
		clear(okm)
		return nil, ErrCommitment
	}
	key, _ := cut(okm)
	return key, nil
}

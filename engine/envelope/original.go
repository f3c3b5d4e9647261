package envelope

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"

	"cryptoserve/engine/aead"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// scheme is one pair of algorithm and mode that a header of formats 1 to 3 can name.
type scheme struct {
	algorithm    algs.Name
	mode         string
	construction aead.Construction
	dek          int  // bytes of the data key
	nonce        int  // bytes of the nonce in the header
	ours         bool // we write it in format 3; the others come from the original alone
}

// schemes begins with what Pretend takes for an algorithm that nobody knows.
var schemes = []scheme{
	{algs.AES256GCM, "gcm", aead.OriginalGCM, 32, 12, true},
	{algs.AES128GCM, "gcm", aead.OriginalGCM, 16, 12, true},
	{algs.AES192GCM, "gcm", aead.OriginalGCM, 24, 12, true},
	{algs.ChaCha20Poly1305, "gcm", aead.OriginalChaCha, 32, 12, true},
	{algs.AES256CCM, "ccm", aead.OriginalCCM, 32, 12, true},
	{algs.AES256CBC, "cbc", aead.OriginalCBC, 32, 16, true},
	{algs.AES256CTR, "ctr", aead.OriginalCTR, 32, 12, true},

	{algs.AES256GCMSIV, "gcm-siv", aead.OriginalGCM, 32, 12, false},
	{algs.ChaCha20Poly1305, "ctr", aead.OriginalChaCha, 32, 16, false},
	{algs.AES128GCM, "cbc", aead.OriginalCBC, 16, 16, false},
	{algs.AES128GCM, "ccm", aead.OriginalCCM, 16, 12, false},
	{algs.AES128GCM, "gcm-siv", aead.OriginalGCM, 16, 12, false},
	{algs.AES256XTS, "xts", aead.OriginalXTS, 64, 12, false},
}

// originalKEM lists the hybrid algorithms of the original, with the lengths of their KEM ciphertexts (FIPS 203 table 3) and
// how their body is protected.
var originalKEM = map[algs.Name]struct {
	bytes        int
	construction aead.Construction
}{
	algs.AES256GCMMLKEM768:        {1088, aead.OriginalGCM},
	algs.AES256GCMMLKEM1024:       {1568, aead.OriginalGCM},
	algs.ChaCha20Poly1305MLKEM768: {1088, aead.OriginalChaCha},
}

// schemeOf returns what a header names, nil if that is nothing that anybody writes in the format. known tells whether the
// algorithm alone is one of the schemes'.
func schemeOf(format int, alg algs.Name, mode string) (found *scheme, known bool) {
	for i := range schemes {
		s := &schemes[i]
		if s.algorithm != alg {
			continue
		}
		known = true
		// A header of format 1 names no mode: it is GCM or ChaCha20-Poly1305 by its algorithm, and so the first of each.
		if s.mode == mode || format == 1 && (s.construction == aead.OriginalGCM || s.construction == aead.OriginalChaCha) {
			return s, true
		}
	}
	return nil, known
}

// written3 returns how format 3 is written with an algorithm, nil if it is not.
func written3(alg algs.Name) *scheme {
	for i := range schemes {
		if s := &schemes[i]; s.ours && s.algorithm == alg {
			return s
		}
	}
	return nil
}

// bodyKey returns the key that the construction takes: the data key itself, or a new one that the original splits it into
// and wipe must be called with.
func (s *scheme) bodyKey(dek []byte) ([]byte, error) {
	if !s.splits() {
		return dek, nil
	}
	key := make([]byte, 0, 96)
	if s.construction == aead.OriginalXTS {
		// The whole data key is the XTS key, and its first half also gives the MAC key.
		key, dek = append(key, dek...), dek[:32]
	} else {
		enc, err := hkdf.Key(sha256.New, dek, []byte("crypto-serve-v1"), "encryption", len(dek))
		if err != nil {
			return nil, err
		}
		key = append(key, enc...)
		clear(enc)
	}
	mac, err := hkdf.Key(sha256.New, dek, []byte("crypto-serve-v1"), "authentication", 32)
	if err != nil {
		return nil, err
	}
	key = append(key, mac...)
	clear(mac)
	return key, nil
}

// splits reports whether the data key becomes two keys, which is so where the construction has a MAC of its own.
func (s *scheme) splits() bool { return !s.construction.Authenticates() }

// wipe overwrites what bodyKey returned, unless it is the data key itself.
func (s *scheme) wipe(key []byte) {
	if s.splits() {
		clear(key)
	}
}

// originalSealer is aead.SealOriginal, but for tests that give a nonce.
type originalSealer func(c aead.Construction, key, plaintext, associated []byte) ([]byte, error)

func seal3(dst []byte, p *Params, s *scheme, dek, plaintext, associated []byte, seal originalSealer) ([]byte, error) {
	if len(associated) > 0 && !s.construction.Authenticates() {
		return nil, &fault.Error{
			Kind: fault.Malformed, Op: "envelope.seal", Detail: "the algorithm does not authenticate associated data in format 3",
			Fields: []fault.Field{{Name: "associated_data", Detail: "must be empty for this algorithm in format 3"}},
		}
	}
	key, err := s.bodyKey(dek)
	if err != nil {
		return nil, err
	}
	defer s.wipe(key)
	// The nonce belongs in the header, before the body, but is drawn by the AEAD: seal first, then put both in place.
	sealed, err := seal(s.construction, key, plaintext, associated)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	dst = beginHeader(dst, p)
	dst = append(dst, `","mode":"`...)
	dst = append(dst, s.mode...)
	dst = append(dst, `","nonce":"`...)
	dst = strictBase64.AppendEncode(dst, sealed[:s.nonce])
	dst = append(dst, `","kc":"`...)
	dst = strictBase64.AppendEncode(dst, commitment3(dek))
	if len(associated) > 0 {
		dst = append(dst, `","aad":true}`...)
	} else {
		dst = append(dst, `","aad":false}`...)
	}
	endHeader(dst, start)
	return append(dst, sealed[s.nonce:]...), nil
}

func (f *Frame) open3(dst []byte, s *scheme, dek, associated []byte) ([]byte, error) {
	if !f.committed(commitment3(dek)) {
		return nil, ErrCommitment
	}
	if f.HasAAD != (len(associated) > 0) || f.HasAAD && !s.construction.Authenticates() {
		return nil, ErrTag
	}
	return f.openBody(dst, s, dek, associated)
}

// OpenImported opens a frame that the public original of the system wrote, format 1 to 3, under a data key that was imported
// with it: LegacyKeyBytes bytes, for a hybrid frame the KEM's secret. It appends the plaintext to dst and returns
// ErrCommitment or ErrTag. What associated data means is in the package comment. A frame that the original never wrote, or a
// key of another length, costs the work of a wrong key and is ErrCommitment.
func (f *Frame) OpenImported(dst, key, associated []byte) ([]byte, error) {
	if f.OriginalHybrid && len(key) == KeyBytes {
		return f.openHybrid1(dst, key, associated)
	}
	s := f.scheme
	if s == nil || len(key) != s.dek {
		f.Pretend(associated)
		return nil, ErrCommitment
	}
	if f.Format == 3 && !f.committed(commitment3(key)) {
		return nil, ErrCommitment
	}
	given := len(associated) > 0
	switch s.construction {
	case aead.OriginalCBC, aead.OriginalCTR:
		if f.HasAAD || given {
			return nil, ErrTag
		}
	case aead.OriginalXTS:
		if f.Format == 3 && f.HasAAD != given {
			return nil, ErrTag
		}
	default:
		if f.HasAAD && !given {
			return nil, ErrTag
		}
	}
	return f.openBody(dst, s, key, associated)
}

func (f *Frame) openBody(dst []byte, s *scheme, dek, associated []byte) ([]byte, error) {
	key, err := s.bodyKey(dek)
	if err != nil {
		return nil, err
	}
	defer s.wipe(key)
	// ChaCha20-Poly1305 under mode ctr has a nonce of which it uses the beginning.
	out, err := aead.OpenOriginal(dst, s.construction, key, f.nonceBuf[:s.construction.NonceBytes()], f.body, associated)
	return out, tagError(err)
}

// openHybrid1 opens the original's hybrid frame under the secret that its KEM ciphertext gave.
func (f *Frame) openHybrid1(dst, secret, associated []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "cryptoserve-hybrid-v1"+f.KeyID, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	out, err := aead.OpenOriginal(dst, originalKEM[f.Algorithm].construction, key, f.nonce(), f.body, associated)
	return out, tagError(err)
}

// commitment3 is the key commitment of format 3: specification section 3.2.
func commitment3(dek []byte) []byte {
	h := hmac.New(sha256.New, dek)
	h.Write([]byte("key-commitment-v1"))
	return h.Sum(nil)
}

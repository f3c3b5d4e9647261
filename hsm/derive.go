package hsm

import (
	"context"
	"crypto/sha256"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm/internal/hkdf"
)

// MaxExpand is the most bytes that Expand can give: 255 blocks of 32 bytes.
const MaxExpand = 255 * sha256.Size

// Expand returns n bytes, 1 to MaxExpand, of HKDF-Expand-SHA256 (RFC 5869 section 2.3) with the master key as PRK and
// info as context. Each 32 bytes are one C_Sign with CKM_SHA256_HMAC; the master key stays in the token. The master key
// is uniformly random, so the extract step may be left out (RFC 5869 section 3.3).
//
// fault.Malformed when n is out of range, fault.HSMUnavailable when the token cannot be used now, fault.Unavailable when
// no keys are loaded or the context has ended.
func (t *Token) Expand(ctx context.Context, info []byte, n int) (secret.Bytes, error) {
	const op = "hsm.Expand"
	if n < 1 || n > MaxExpand {
		return secret.Bytes{}, fault.New(fault.Malformed, op, "the length is not between 1 and 8160 bytes")
	}
	var out []byte
	err := t.do(ctx, op, func(s *session) error {
		keys, err := t.loaded(op)
		if err != nil {
			return err
		}
		out, err = hkdf.Expand(func(message []byte) ([]byte, error) { return t.hmac(s, keys.master, message) }, info, n)
		return err
	})
	if err != nil {
		return secret.Bytes{}, err
	}
	return secret.New(out), nil
}

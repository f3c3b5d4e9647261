package kdf

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/scrypt"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// Derive returns OutputBytes of key. It returns fault.Malformed, naming the field, for parameters that are out of the
// package's limits, and fault.Unavailable when a password's turn did not come in time. Waiting ends with the context; a
// computation that has begun does not.
func Derive(ctx context.Context, name algs.Name, p *Params) ([]byte, error) {
	if err := Check(name, p); err != nil {
		return nil, err
	}
	if row, _ := algs.Lookup(name); row.Class == algs.ClassPassword {
		release, err := Acquire(ctx, memoryBytes(name, p.Cost))
		if err != nil {
			return nil, err
		}
		defer release()
	}
	key, err := derive(name, p)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "kdf.derive", "", err)
	}
	return key, nil
}

// derive computes without limits.
func derive(name algs.Name, p *Params) ([]byte, error) {
	switch name {
	case algs.HKDFSHA256, algs.HKDFSHA384, algs.HKDFSHA512:
		return hkdf.Key(hashOf(name), p.Secret, p.Salt, string(p.Info), p.OutputBytes)
	case algs.KBKDFHMACSHA256, algs.KBKDFHMACSHA384, algs.KBKDFHMACSHA512:
		return kbkdf(hashOf(name), p.Secret, fixedInput(p.Label, p.Context, p.OutputBytes), p.OutputBytes), nil
	case algs.PBKDF2SHA256, algs.PBKDF2SHA512:
		return pbkdf2.Key(hashOf(name), string(p.Secret), p.Salt, p.Cost.Iterations, p.OutputBytes)
	case algs.Argon2id:
		c := p.Cost
		//nolint:gosec // G115: all within the limits of this package
		return argon2.IDKey(p.Secret, p.Salt, uint32(c.Time), uint32(c.MemoryKiB), uint8(c.Parallelism), uint32(p.OutputBytes)), nil
	case algs.Scrypt:
		return scrypt.Key(p.Secret, p.Salt, p.Cost.N, p.Cost.R, p.Cost.P, p.OutputBytes)
	default:
		return nil, fault.New(fault.Internal, "kdf.derive", "the key derivation has no implementation")
	}
}

func hashOf(name algs.Name) func() hash.Hash {
	switch name {
	case algs.HKDFSHA256, algs.KBKDFHMACSHA256, algs.PBKDF2SHA256:
		return sha256.New
	case algs.HKDFSHA384, algs.KBKDFHMACSHA384:
		return sha512.New384
	default:
		return sha512.New
	}
}

// hashBytes returns the length of the hash inside.
func hashBytes(name algs.Name) int {
	switch name {
	case algs.HKDFSHA256, algs.KBKDFHMACSHA256, algs.PBKDF2SHA256:
		return sha256.Size
	case algs.HKDFSHA384, algs.KBKDFHMACSHA384:
		return sha512.Size384
	default:
		return sha512.Size
	}
}

// fixedInput returns label || 0x00 || context || uint32(bits of output): SP 800-108r1 section 4.
func fixedInput(label, context []byte, outputBytes int) []byte {
	b := make([]byte, 0, len(label)+1+len(context)+4)
	b = append(append(append(b, label...), 0), context...)
	return binary.BigEndian.AppendUint32(b, 8*uint32(outputBytes)) //nolint:gosec // G115: at most MaxOutputBytes
}

// kbkdf returns n bytes of HMAC(key, uint32(i) || fixed) for i = 1, 2, ...: SP 800-108r1 section 4.1 with r = 32.
func kbkdf(newHash func() hash.Hash, key, fixed []byte, n int) []byte {
	mac := hmac.New(newHash, key)
	out := make([]byte, 0, n+mac.Size())
	for i := uint32(1); len(out) < n; i++ {
		mac.Reset()
		mac.Write(binary.BigEndian.AppendUint32(nil, i))
		mac.Write(fixed)
		out = mac.Sum(out)
	}
	clear(out[n:])
	return out[:n:n]
}

// memoryBytes returns what a computation holds besides a few kilobytes.
func memoryBytes(name algs.Name, c Cost) int64 {
	switch name {
	case algs.Argon2id:
		return int64(c.MemoryKiB) << 10
	case algs.Scrypt:
		return 128 * int64(c.N) * int64(c.R)
	default:
		return 0
	}
}

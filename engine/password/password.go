package password

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
)

// What Hash writes, in bytes.
const (
	SaltBytes = 16
	HashBytes = 32
)

const bcryptPasswordBytes = 72

// Result is the answer of Verify.
type Result struct {
	// Valid says that the password is the one.
	Valid bool
	// NeedsRehash says that the caller should hash the password anew, if it is valid: the algorithm is only read, the spelling
	// is an old one, or a cost, the salt or the hash is below what Hash gives today.
	NeedsRehash bool
	Algorithm   algs.Name
}

// Hash returns a new PHC string of a password of 1 to 4096 bytes, with PBKDF2-SHA256, PBKDF2-SHA512, Argon2id or scrypt.
// cost may be nil for kdf.DefaultCost. It returns fault.Malformed, naming the field, for what package kdf does not take, and
// fault.Unavailable when the computation's turn did not come in time.
func Hash(ctx context.Context, name algs.Name, password []byte, cost *kdf.Cost) (string, error) {
	if _, ok := algs.Of(name, algs.ClassPassword); !ok {
		return "", refused("algorithm", "not an algorithm that this service stores passwords with")
	}
	e := encoded{algorithm: name, cost: kdf.DefaultCost(name), salt: make([]byte, SaltBytes)}
	if cost != nil {
		e.cost = *cost
	}
	_, _ = rand.Read(e.salt) // never returns an error: crypto/rand documents that it ends the program instead
	hash, err := kdf.Derive(ctx, name, &kdf.Params{Secret: password, Salt: e.salt, Cost: e.cost, OutputBytes: HashBytes})
	if err != nil {
		return "", err
	}
	e.hash = hash
	return e.String(), nil
}

// Decoy returns a string in which no password is stored: its salt and hash are random. Verify takes the same work for it as for
// a string of Hash with the default cost, so that an answer does not tell whether there is a password to compare with.
func Decoy(name algs.Name) string {
	e := encoded{algorithm: name, cost: kdf.DefaultCost(name), salt: make([]byte, SaltBytes), hash: make([]byte, HashBytes)}
	_, _ = rand.Read(e.salt) // as in Hash
	_, _ = rand.Read(e.hash)
	return e.String()
}

// Identify returns the algorithm of a string that Verify would read, or Argon2d, and computes nothing. It returns
// fault.Malformed on the field "hash" for everything else.
func Identify(hash string) (algs.Name, error) {
	e, err := parse(hash)
	if err != nil {
		return "", err
	}
	return e.algorithm, nil
}

// Verify compares a password with a string. The comparison takes the same time wherever they differ. It returns
// fault.Malformed on the field "hash" for a string that it does not read, on the field "password" for a password that the
// algorithm does not take, and fault.Unavailable when the computation's turn did not come in time.
func Verify(ctx context.Context, hash string, password []byte) (Result, error) {
	e, err := parse(hash)
	if err != nil {
		return Result{}, err
	}
	if len(password) < kdf.MinPasswordBytes || len(password) > kdf.MaxPasswordBytes {
		return Result{}, refused("password", fmt.Sprintf("%d to %d bytes", kdf.MinPasswordBytes, kdf.MaxPasswordBytes))
	}
	valid, err := e.matches(ctx, password)
	if err != nil {
		return Result{}, err
	}
	return Result{Valid: valid, NeedsRehash: e.needsRehash(), Algorithm: e.algorithm}, nil
}

func (e *encoded) matches(ctx context.Context, password []byte) (bool, error) {
	var got []byte
	var err error
	switch e.algorithm {
	case Bcrypt:
		return e.matchesBcrypt(ctx, password)
	case Argon2d:
		return false, malformed("Argon2d is not supported: the password has to be set anew")
	case Argon2i:
		got, err = e.argon2i(ctx, password)
	default:
		got, err = kdf.Derive(ctx, e.algorithm, &kdf.Params{Secret: password, Salt: e.salt, Cost: e.cost, OutputBytes: len(e.hash)})
	}
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, e.hash) == 1, nil
}

func (e *encoded) argon2i(ctx context.Context, password []byte) ([]byte, error) {
	c := e.cost
	release, err := kdf.Acquire(ctx, int64(c.MemoryKiB)<<10)
	if err != nil {
		return nil, err
	}
	defer release()
	//nolint:gosec // G115: parse holds all of them against kdf's limits
	return argon2.Key(password, e.salt, uint32(c.Time), uint32(c.MemoryKiB), uint8(c.Parallelism), uint32(len(e.hash))), nil
}

func (e *encoded) matchesBcrypt(ctx context.Context, password []byte) (bool, error) {
	if len(password) > bcryptPasswordBytes {
		return false, refused("password", fmt.Sprintf("bcrypt takes %d bytes at most", bcryptPasswordBytes))
	}
	if bytes.IndexByte(password, 0) >= 0 {
		return false, refused("password", "bcrypt takes no zero byte")
	}
	release, err := kdf.Acquire(ctx, 0)
	if err != nil {
		return false, err
	}
	defer release()
	err = bcrypt.CompareHashAndPassword([]byte(e.bcrypt), password)
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, fault.Wrap(fault.Internal, "password.verify", "", err)
	}
	return err == nil, nil
}

// needsRehash compares with what Hash gives by default.
func (e *encoded) needsRehash() bool {
	if _, ok := algs.Of(e.algorithm, algs.ClassPassword); !ok || e.legacy {
		return true
	}
	c, today := e.cost, kdf.DefaultCost(e.algorithm)
	return len(e.salt) < SaltBytes || len(e.hash) < HashBytes ||
		c.Iterations < today.Iterations ||
		c.MemoryKiB < today.MemoryKiB || c.Time < today.Time || c.Parallelism < today.Parallelism ||
		c.N < today.N || c.R < today.R || c.P < today.P
}

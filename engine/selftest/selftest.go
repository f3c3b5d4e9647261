package selftest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"cryptoserve/engine/aead"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/hash"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/mac"
	"cryptoserve/engine/signature"
)

//go:embed answers.json
var answersJSON []byte

// answer is what one algorithm makes of the fixed inputs. Its keys are for nothing else and no secret.
type answer struct {
	Algorithm algs.Name `json:"algorithm"`
	Private   []byte    `json:"private,omitempty"` // key of a pair
	Public    []byte    `json:"public,omitempty"`
	Input     []byte    `json:"input,omitempty"` // ciphertext, signature or peer's public key
	Output    []byte    `json:"output,omitempty"`
}

var (
	message    = []byte("cryptoserve known answer test")
	associated = []byte("associated data")
)

var errDiffers = errors.New("the answer differs")

// Run checks every algorithm and returns the first that fails.
func Run() error {
	var answers []answer
	if err := json.Unmarshal(answersJSON, &answers); err != nil {
		return fmt.Errorf("known answers: %w", err)
	}
	return run(answers)
}

func run(answers []answer) error {
	byName := make(map[algs.Name]*answer, len(answers))
	for i := range answers {
		byName[answers[i].Algorithm] = &answers[i]
	}
	rows := algs.Rows()
	failed := make([]error, len(rows))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(rows)); i = next.Add(1) - 1 {
				failed[i] = runOne(rows[i], byName[rows[i].Name])
			}
		})
	}
	workers.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

func runOne(row algs.Row, a *answer) error {
	if row.ReadOnly {
		return nil // reads what others wrote; its primitives are those of other rows
	}
	if a == nil {
		return fmt.Errorf("%s has no known answer", row.Name)
	}
	if err := check(row, a); err != nil {
		return fmt.Errorf("%s: %w", row.Name, err)
	}
	return nil
}

// check computes one algorithm and refuses an altered input where the algorithm authenticates.
func check(row algs.Row, a *answer) error {
	switch row.Class {
	case algs.ClassAEAD:
		return checkAEAD(a)
	case algs.ClassSignature:
		return checkSignature(a)
	case algs.ClassPublicEncryption:
		return checkDecryption(a)
	default:
		got, err := compute(row, a)
		return equal(got, a.Output, err)
	}
}

// compute returns the output of an algorithm that only computes.
func compute(row algs.Row, a *answer) ([]byte, error) {
	switch row.Class {
	case algs.ClassHash:
		return hash.Sum(row.Name, message, 0)
	case algs.ClassMAC:
		return mac.Sum(row.Name, pattern(int(row.KeyBits)/8), message, mac.Options{})
	case algs.ClassKDF, algs.ClassPassword:
		return kdf.Derive(context.Background(), row.Name, derivation(row.Name))
	case algs.ClassKEM, algs.ClassHybrid:
		key, err := kem.ParsePrivate(row.Name, a.Private)
		if err != nil {
			return nil, err
		}
		return key.Decapsulate(a.Input)
	case algs.ClassAgreement:
		key, err := kem.ParsePrivate(row.Name, a.Private)
		if err != nil {
			return nil, err
		}
		return key.Agree(a.Input)
	default:
		return nil, fmt.Errorf("class %s has no self-test", row.Class)
	}
}

func checkAEAD(a *answer) error {
	key := pattern(aead.KeyBytes(a.Algorithm))
	got, err := aead.Open(nil, a.Algorithm, key, a.Input, associated)
	if err := equal(got, message, err); err != nil {
		return err
	}
	if _, err := aead.Open(nil, a.Algorithm, key, altered(a.Input), associated); err == nil {
		return errors.New("an altered ciphertext opens")
	}
	sealed, err := aead.Seal(nil, a.Algorithm, key, message, associated)
	if err != nil {
		return err
	}
	got, err = aead.Open(nil, a.Algorithm, key, sealed, associated)
	return equal(got, message, err)
}

func checkSignature(a *answer) error {
	public, err := signature.ParsePublic(a.Algorithm, a.Public)
	if err != nil {
		return err
	}
	if err := public.Verify(message, a.Input, signature.Options{}); err != nil {
		return err
	}
	if public.Verify(associated, a.Input, signature.Options{}) == nil {
		return errors.New("a signature of another message verifies")
	}
	return nil
}

func checkDecryption(a *answer) error {
	key, err := kem.ParsePrivate(a.Algorithm, a.Private)
	if err != nil {
		return err
	}
	got, err := key.Decrypt(a.Input, nil, nil)
	if err := equal(got, message, err); err != nil {
		return err
	}
	if _, err := key.Decrypt(altered(a.Input), nil, nil); err == nil {
		return errors.New("an altered ciphertext decrypts")
	}
	return nil
}

func equal(got, want []byte, err error) error {
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errDiffers
	}
	return nil
}

// altered returns b with its last bit flipped.
func altered(b []byte) []byte {
	c := bytes.Clone(b)
	c[len(c)-1] ^= 1
	return c
}

// pattern returns n bytes that are no secret.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(7*i + 3)
	}
	return b
}

// derivation returns the smallest lawful parameters, so that the start is quick.
func derivation(name algs.Name) *kdf.Params {
	p := &kdf.Params{Secret: message, OutputBytes: 32}
	switch name {
	case algs.HKDFSHA256, algs.HKDFSHA384, algs.HKDFSHA512:
		p.Salt, p.Info = pattern(16), associated
	case algs.PBKDF2SHA256, algs.PBKDF2SHA512:
		p.Salt, p.Cost = pattern(16), kdf.Cost{Iterations: kdf.MinIterations}
	case algs.Argon2id:
		p.Salt, p.Cost = pattern(16), kdf.Cost{MemoryKiB: 8 << 10, Time: 1, Parallelism: 1}
	case algs.Scrypt:
		p.Salt, p.Cost = pattern(16), kdf.Cost{N: kdf.MinN, R: 8, P: 1}
	default:
		p.Label, p.Context = []byte("label"), associated
	}
	return p
}

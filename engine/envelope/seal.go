package envelope

import (
	"crypto/rand"
	"errors"
	"fmt"

	"cryptoserve/engine/aead"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// Errors of Open. The caller of the API sees neither: they are for the audit record.
var (
	ErrCommitment = errors.New("envelope: key commitment differs")
	ErrTag        = errors.New("envelope: authentication failed")
)

// KeyBytes is the length of a data key of format 4, of the secret of a hybrid frame, and of most data keys of format 3.
const KeyBytes = 32

// Params names what a frame is made for.
type Params struct {
	Format    int
	Context   string
	KeyID     string
	Algorithm algs.Name
	// Encapsulated is the KEM ciphertext of a hybrid algorithm, MaxEncapsulated bytes at most; empty for every other.
	Encapsulated []byte
}

// DEKBytes returns the length of the key that Seal takes for a format and an algorithm, 0 when they are not written together.
func DEKBytes(format int, alg algs.Name) int {
	switch format {
	case 4:
		if layouts4[alg] != nil {
			return KeyBytes
		}
	case 3:
		if s := written3(alg); s != nil {
			return s.dek
		}
	}
	return 0
}

// Seal appends the frame of plaintext to dst. dst must not overlap the other arguments. The DEK has DEKBytes bytes; for a
// hybrid algorithm it is the encapsulated secret. A plaintext over the algorithm's limit is fault.TooLarge. Associated data
// that format 3 cannot authenticate, and an algorithm that it does not have, are fault.Malformed. Anything else is a mistake
// of the program.
func Seal(dst []byte, p Params, dek, plaintext, associated []byte) ([]byte, error) {
	switch p.Format {
	case 4:
		l := layouts4[p.Algorithm]
		if l == nil {
			return nil, p.unwritten()
		}
		if err := p.check(dek, KeyBytes); err != nil {
			return nil, err
		}
		if l.hybrid != (len(p.Encapsulated) > 0) || len(p.Encapsulated) > MaxEncapsulated {
			return nil, fmt.Errorf("envelope: %q with an encapsulated key of %d bytes", p.Algorithm, len(p.Encapsulated))
		}
		var salt [SaltBytes]byte
		_, _ = rand.Read(salt[:]) // never returns an error: crypto/rand documents that it ends the program instead
		return seal4(dst, &p, l, dek, &salt, plaintext, associated, aead.Seal)
	case 3:
		s := written3(p.Algorithm)
		if s == nil {
			if layouts4[p.Algorithm] == nil {
				return nil, p.unwritten()
			}
			return nil, &fault.Error{
				Kind: fault.Malformed, Op: "envelope.seal", Detail: "the algorithm is not written in format 3",
				Fields: []fault.Field{{Name: "algorithm", Detail: "needs format 4"}},
			}
		}
		if err := p.check(dek, s.dek); err != nil {
			return nil, err
		}
		return seal3(dst, &p, s, dek, plaintext, associated, aead.SealOriginal)
	default:
		return nil, p.unwritten()
	}
}

func (p *Params) unwritten() error {
	return fmt.Errorf("envelope: %q is not written in format %d", p.Algorithm, p.Format)
}

// check refuses names and keys that no reader takes.
func (p *Params) check(dek []byte, want int) error {
	if len(dek) != want {
		return fmt.Errorf("envelope: %q in format %d with a key of %d bytes", p.Algorithm, p.Format, len(dek))
	}
	if !validName(p.Context) || !validName(p.KeyID) {
		return errors.New("envelope: name with characters that no header holds")
	}
	return nil
}

// Open opens a frame of ours, format 3 or 4: it checks the commitment, then decrypts, and appends the plaintext to dst. It
// returns ErrCommitment or ErrTag. The DEK has the length that Seal took for it; a frame that was never ours, a stream, or a
// key that does not fit costs the work of a wrong key and is ErrCommitment.
func (f *Frame) Open(dst, dek, associated []byte) ([]byte, error) {
	switch f.Format {
	case 4:
		if f.layout != nil && !f.Stream && len(dek) == KeyBytes {
			return f.open4(dst, dek, associated)
		}
	case 3:
		if s := f.scheme; s != nil && s.ours && len(dek) == s.dek {
			return f.open3(dst, s, dek, associated)
		}
	}
	f.Pretend(associated)
	return nil, ErrCommitment
}

// decoy is the key that Pretend works with. It is drawn anew in each process, so that nobody can make a frame that it opens.
var decoy = func() (key [64]byte) {
	_, _ = rand.Read(key[:])
	return key
}()

// Pretend does the work of an attempt to open the frame with a wrong key. Its caller has no key to try and does not want that
// to be seen in the time it takes.
func (f *Frame) Pretend(associated []byte) {
	switch {
	case f.Format == 4:
		l := f.layout
		if l == nil {
			l = unknown4
		}
		if okm, err := messageKeys(decoy[:KeyBytes], f.Algorithm, f.Encapsulated, &f.Salt, l.keys); err == nil {
			f.committed(okm)
		}
	case f.Format == 3:
		f.committed(commitment3(decoy[:f.LegacyKeyBytes()]))
	case f.OriginalHybrid:
		_, _ = f.openHybrid1(nil, decoy[:KeyBytes], associated)
	default:
		s := f.scheme
		if s == nil {
			s = &schemes[0]
		}
		_, _ = f.openBody(nil, s, decoy[:s.dek], associated)
	}
}

// joined returns a || b, without copying when there is no b.
func joined(a, b []byte) []byte {
	if len(b) == 0 {
		return a
	}
	return append(append(make([]byte, 0, len(a)+len(b)), a...), b...)
}

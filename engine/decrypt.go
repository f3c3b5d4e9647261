package engine

import (
	"context"
	"errors"

	"cryptoserve/engine/audit"
	"cryptoserve/engine/envelope"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// DecryptRequest asks to open a ciphertext frame of a context of the subject's tenant.
type DecryptRequest struct {
	Context        string
	Ciphertext     []byte
	AssociatedData []byte
	Dst            []byte // the plaintext is appended to Dst[:0]; may be nil
}

// DecryptResult holds the plaintext. Rewrap tells that another version protects in the context by now.
type DecryptResult struct {
	Plaintext []byte
	KeyID     string
	Rewrap    bool
}

// Why a decryption failed, for the auditor. The caller gets one answer for all of them.
const (
	causeFrame      fault.Cause = "frame"
	causeContext    fault.Cause = "context"
	causeKey        fault.Cause = "key"
	causeKeyState   fault.Cause = "key-state"
	causeAlgorithm  fault.Cause = "algorithm"
	causeCommitment fault.Cause = "commitment"
	causeTag        fault.Cause = "tag"
)

func decryptFailed(why fault.Cause) error {
	return fault.Wrap(fault.DecryptFailed, "engine.decrypt", "decryption failed", why)
}

// decoy is the key that frames without a usable key are tried with, so that they take the same work as a wrong one.
var decoy [envelope.KeyBytes]byte

// Decrypt opens a frame. Every failure that depends on the ciphertext or its key is fault.DecryptFailed; only a frame of
// another context that the subject may also decrypt in is fault.ContextMismatch.
func (e *Engine) Decrypt(ctx context.Context, c *Call, in *DecryptRequest) (DecryptResult, error) {
	r := c.begin(policy.Decrypt)
	r.Context, r.In = in.Context, len(in.Ciphertext)
	out, err := e.decrypt(ctx, c.Subject, in, &r)
	if err := e.finish(c, &r, err); err != nil {
		clear(out.Plaintext)
		return DecryptResult{}, err
	}
	return out, nil
}

func (e *Engine) decrypt(ctx context.Context, s *policy.Subject, in *DecryptRequest, r *audit.Record) (DecryptResult, error) {
	p, err := e.authorize(s, policy.Decrypt, in.Context)
	if err != nil {
		return DecryptResult{}, err
	}
	f, err := envelope.Parse(in.Ciphertext)
	if err != nil {
		return DecryptResult{}, decryptFailed(causeFrame)
	}
	if f.Context != in.Context {
		if _, err := e.authorize(s, policy.Decrypt, f.Context); err == nil {
			return DecryptResult{}, fault.Wrap(fault.ContextMismatch, "engine.decrypt",
				"context mismatch: the ciphertext belongs to "+f.Context+", not to "+in.Context, causeContext)
		}
		return DecryptResult{}, pretend(&f, in, causeContext)
	}
	v := p.version(f.KeyID)
	if why := unusable(v, p, &f); why != "" {
		return DecryptResult{}, pretend(&f, in, why)
	}
	r.KeyID, r.Algorithm, r.Format = v.ID, string(v.Algorithm), f.Format
	d, err := e.deks.get(ctx, v, e.deriveDEK)
	if err != nil {
		return DecryptResult{}, err
	}
	plaintext, err := f.Open(in.Dst[:0], d.key.Reveal(), in.AssociatedData)
	d.release()
	if err != nil {
		return DecryptResult{}, decryptFailed(openCause(err))
	}
	// The decisive look at the records is the one after the work.
	if e.ledger.Epoch() != p.epoch {
		p, err = e.authorize(s, policy.Decrypt, in.Context)
		if err != nil {
			clear(plaintext)
			return DecryptResult{}, err
		}
		if why := unusable(p.version(f.KeyID), p, &f); why != "" {
			clear(plaintext)
			return DecryptResult{}, decryptFailed(why)
		}
	}
	r.Out = len(plaintext)
	return DecryptResult{Plaintext: plaintext, KeyID: v.ID, Rewrap: v.ID != p.active.ID || f.Format != int(p.context.Format)}, nil
}

// version returns the record of a key version in the plan's tenant, or nil.
func (p *plan) version(id string) *keys.Version {
	if id == p.active.ID {
		return p.active
	}
	return p.tenant.Version(id)
}

// unusable tells why a version may not open a frame in the plan's context; empty means that it may. It compares the frame's
// claims with the version's record and never the other way round.
func unusable(v *keys.Version, p *plan, f *envelope.Frame) fault.Cause {
	switch {
	case v == nil || v.Context != p.context.Name:
		return causeKey
	case !v.State.Allows(keys.Process):
		return causeKeyState
	case v.Algorithm != f.Algorithm:
		return causeAlgorithm
	default:
		return ""
	}
}

// pretend does the work of a decryption with a wrong key and returns its failure, whatever that work gave.
func pretend(f *envelope.Frame, in *DecryptRequest, why fault.Cause) error {
	_, _ = f.Open(in.Dst[:0], decoy[:], in.AssociatedData)
	return decryptFailed(why)
}

func openCause(err error) fault.Cause {
	if errors.Is(err, envelope.ErrCommitment) {
		return causeCommitment
	}
	return causeTag
}

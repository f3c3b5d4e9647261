package engine

import (
	"context"
	"errors"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keyenc"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/signature"
)

// The forms of a signature.
const (
	formatJWS = "jws"
)

// SignRequest asks to sign a message with a key object.
type SignRequest struct {
	Key       string
	Message   []byte
	Prehashed bool   // the message is its digest already
	Hash      string // of ECDSA and RSA; empty means the algorithm's own
	Format    string // der or raw for ECDSA, jws for a detached JWS; empty means the usual one
	Context   []byte // context string of ML-DSA and SLH-DSA
}

// SignResult holds the signature, or the detached JWS when that was asked for.
type SignResult struct {
	Signature []byte
	JWS       string
	KeyID     string
	Version   uint32
	Algorithm string
	Warnings  []string
}

// Sign signs with the active version of a key object.
func (e *Engine) Sign(ctx context.Context, c *Call, in *SignRequest) (SignResult, error) {
	r := c.begin(policy.Sign)
	r.Resource, r.In = in.Key, len(in.Message)
	var out SignResult
	err := e.protectWithKey(ctx, c, &r, policy.Sign, in.Key, keys.PurposeSign, func(p *plan, _ algs.Row, warnings []string) (err error) {
		v := p.active
		out = SignResult{KeyID: v.ID, Version: v.Number, Algorithm: string(v.Algorithm), Warnings: warnings}
		if in.Format == formatJWS {
			out.JWS, err = e.signJWS(ctx, v, in)
			r.Out = len(out.JWS)
			return err
		}
		o, err := in.options()
		if err != nil {
			return err
		}
		out.Signature, err = e.signMessage(ctx, v, in.Message, o)
		r.Out = len(out.Signature)
		return err
	})
	if err != nil {
		return SignResult{}, err
	}
	return out, nil
}

func (in *SignRequest) options() (signature.Options, error) {
	format, err := signature.ParseFormat(in.Format)
	return signature.Options{Hash: algs.Name(in.Hash), Prehashed: in.Prehashed, Format: format, Context: in.Context}, err
}

func (e *Engine) signJWS(ctx context.Context, v *keys.Version, in *SignRequest) (string, error) {
	if in.Prehashed || len(in.Context) != 0 {
		return "", malformedField("signature_format", "jws signs a whole message without a context string")
	}
	input, o, err := signature.JWSInput(v.Algorithm, algs.Name(in.Hash), v.ID, in.Message)
	if err != nil {
		return "", err
	}
	signed, err := e.signMessage(ctx, v, input, o)
	if err != nil {
		return "", err
	}
	return signature.AssembleJWS(input, signed), nil
}

// signMessage signs where the version's key is: in the token, or on this node.
func (e *Engine) signMessage(ctx context.Context, v *keys.Version, message []byte, o signature.Options) ([]byte, error) {
	if isSlow(v.Algorithm) {
		end, err := e.slowly(ctx)
		if err != nil {
			return nil, err
		}
		defer end()
	}
	if len(v.Wrapped) == 0 {
		key, err := e.signer(ctx, v)
		if err != nil {
			return nil, err
		}
		defer key.release()
		return key.key.Sign(message, o)
	}
	digest, hash, err := signature.Digest(v.Algorithm, message, o)
	if err != nil {
		return nil, err
	}
	spki, err := keyenc.MarshalSPKI(v.Algorithm, v.Public)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "engine.sign", "", err)
	}
	raw, err := e.vault.SignDigest(ctx, v.Algorithm, v.Wrapped, spki, hash, digest)
	if err != nil {
		return nil, err
	}
	return signature.FromToken(v.Algorithm, raw, o.Format)
}

// protectWithKey does what every protection with a key object shares: it authorises, works with the active version, looks
// again and records. work may run again when another version came to protect meanwhile.
func (e *Engine) protectWithKey(
	ctx context.Context, c *Call, r *audit.Record, action policy.Action, name string, purpose keys.Purpose,
	work func(p *plan, row algs.Row, warnings []string) error,
) error {
	err := func() error {
		for race := range maxRaces {
			p, row, err := e.keyPlan(c, action, name, purpose, algs.Protect)
			if err != nil {
				return err
			}
			if race == 0 {
				if err := e.spendShare(c.Subject, p, 1); err != nil {
					return err
				}
			}
			if err := protects(p.active); err != nil {
				return err
			}
			r.Context, r.KeyID, r.Algorithm = p.context.Name, p.active.ID, string(p.active.Algorithm)
			told, err := e.decide(p, keys.Protect, row, r.In, r)
			if err != nil {
				return err
			}
			if err := work(p, row, joined(e.warnings(row), told)); err != nil {
				return err
			}
			if err := e.lookLate(ctx, c, p); err != nil {
				return err
			}
			again, err := e.superseded(c, action, p, row, r.In, r)
			if err != nil {
				return err
			}
			if !again {
				e.protected(p, 1)
				return nil
			}
		}
		return errRaces
	}()
	return e.finish(c, r, err)
}

// keyPlan authorises an action with a key object, which must be for the purpose, and gates its algorithm.
func (e *Engine) keyPlan(c *Call, action policy.Action, name string, purpose keys.Purpose, use algs.Use) (*plan, algs.Row, error) {
	p, err := e.authorizeKey(c, action, name)
	if err != nil {
		return nil, algs.Row{}, err
	}
	if p.object.Purpose != purpose {
		return nil, algs.Row{}, fault.New(fault.Conflict, "engine.key", "the key is for "+p.object.Purpose.String()+", not for "+purpose.String())
	}
	row, ok := algs.Lookup(p.object.Algorithm)
	if !ok {
		return nil, algs.Row{}, fault.New(fault.AlgorithmDisallowed, "engine.key", "the key's algorithm is not known to this node")
	}
	return p, row, e.gate(row, use)
}

// maxTried bounds how many versions of a key one call tries when it does not name one.
const maxTried = 16

// processWithKey does what every use of older versions shares. work is called with each version that may process, newest
// first, or with the one that keyID names, until it reports true. When it never does, the result is otherwise, which may be
// nil.
func (e *Engine) processWithKey(
	ctx context.Context, c *Call, r *audit.Record, action policy.Action, name, keyID string, purpose keys.Purpose,
	work func(v *keys.Version, row algs.Row, warnings []string) (bool, error), otherwise error,
) error {
	err := func() error {
		p, row, err := e.keyPlan(c, action, name, purpose, algs.Process)
		if err != nil {
			return err
		}
		r.Context, r.Algorithm = p.context.Name, string(p.object.Algorithm)
		if err := e.spendShare(c.Subject, p, 1); err != nil {
			return err
		}
		if action == policy.KeyDecrypt || action == policy.Decapsulate || action == policy.Agree { // the answer is a secret
			if err := e.spendBudget(c.Subject, p, 1, r.In); err != nil {
				return err
			}
		}
		// Before any version is looked for: a refusal tells nothing about versions.
		told, err := e.decide(p, keys.Process, row, r.In, r)
		if err != nil {
			return err
		}
		warnings := joined(e.warnings(row), told)
		candidates, err := p.candidates(keyID)
		if err != nil {
			return err
		}
		if keyID != "" {
			r.KeyID = keyID
		}
		for _, v := range candidates {
			done, err := work(v, row, warnings)
			if err != nil {
				return err
			}
			if !done {
				continue
			}
			r.KeyID = v.ID
			if err := e.lookLate(ctx, c, p); err != nil {
				return err
			}
			if err := e.stillProcesses(c, action, p, v, row, r); err != nil {
				return err
			}
			e.processed(v)
			return nil
		}
		if err := e.lookLate(ctx, c, p); err != nil {
			return err
		}
		if err := e.stillProcesses(c, action, p, nil, row, r); err != nil {
			return err
		}
		return otherwise
	}()
	return e.finish(c, r, err)
}

// candidates returns the versions of the plan's key object that may process, newest first, or the one with this id.
func (p *plan) candidates(keyID string) ([]*keys.Version, error) {
	if keyID == "" && p.object.Versions == 1 {
		return p.processable([]*keys.Version{p.active})
	}
	if keyID != "" {
		v := p.tenant.Version(keyID)
		if v == nil || v.Object != p.object.Name {
			return nil, fault.New(fault.NotFound, "engine.key", "the key has no such version")
		}
		return p.processable([]*keys.Version{v})
	}
	list := p.tenant.ObjectVersions(p.object.Name)
	newestFirst(list)
	return p.processable(list)
}

func (p *plan) processable(list []*keys.Version) ([]*keys.Version, error) {
	var may []*keys.Version
	for _, v := range list {
		if p.processes(v) && len(may) < maxTried {
			may = append(may, v)
		}
	}
	if len(may) == 0 {
		return nil, fault.New(fault.KeyState, "engine.key", "no such version of the key may process")
	}
	return may, nil
}

// stillProcesses takes the decisive look at the records, after lookLate. v is nil when no version did it.
func (e *Engine) stillProcesses(
	c *Call, action policy.Action, p *plan, v *keys.Version, row algs.Row, r *audit.Record,
) error {
	if e.ledger.Epoch() == p.epoch {
		return nil
	}
	now, err := e.authorizeKey(c, action, p.object.Name)
	if err != nil {
		return err
	}
	if _, err := e.decide(now, keys.Process, row, r.In, r); err != nil || v == nil {
		return err
	}
	if again := now.tenant.Version(v.ID); again == nil || !now.processes(again) {
		e.forget(v.ID)
		return fault.New(fault.KeyState, "engine.key", "no such version of the key may process")
	}
	return nil
}

// VerifyRequest asks whether a signature is one of a message by a key object.
type VerifyRequest struct {
	SignRequest

	Signature []byte
	JWS       string // instead of Signature, with format jws
	KeyID     string // the version that signed; empty tries them, newest first
}

// VerifyResult tells whether the signature is valid, and by which version.
type VerifyResult struct {
	Valid     bool
	KeyID     string
	Algorithm string
	Warnings  []string
}

// causeInvalid marks the record of a check that succeeded and found a signature or code not valid.
const causeInvalid = "invalid"

// Verify checks a signature. One that is not valid is an answer, not an error.
func (e *Engine) Verify(ctx context.Context, c *Call, in *VerifyRequest) (VerifyResult, error) {
	r := c.begin(policy.Verify)
	r.Resource, r.In = in.Key, len(in.Message)
	var out VerifyResult
	err := e.processWithKey(ctx, c, &r, policy.Verify, in.Key, in.KeyID, keys.PurposeSign, func(v *keys.Version, row algs.Row, warnings []string) (bool, error) {
		out.Algorithm, out.Warnings = string(row.Name), warnings
		err := in.verify(v)
		switch {
		case errors.Is(err, signature.ErrInvalid):
			r.Cause = causeInvalid
			return false, nil
		case err != nil:
			return false, err
		}
		out.Valid, out.KeyID, r.Cause = true, v.ID, ""
		return true, nil
	}, nil)
	if err != nil {
		return VerifyResult{}, err
	}
	return out, nil
}

func (in *VerifyRequest) verify(v *keys.Version) error {
	public, err := signature.ParsePublic(v.Algorithm, v.Public)
	if err != nil {
		return fault.Wrap(fault.Internal, "engine.verify", "", err)
	}
	if in.Format != formatJWS {
		o, err := in.options()
		if err != nil {
			return err
		}
		return public.Verify(in.Message, in.Signature, o)
	}
	return signature.VerifyJWS(func(kid string) (*signature.PublicKey, error) {
		if kid != "" && kid != v.ID {
			return nil, signature.ErrInvalid
		}
		return public, nil
	}, in.JWS, in.Message)
}

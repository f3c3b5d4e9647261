package engine

import (
	"context"
	"errors"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/envelope"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// EncryptRequest asks to encrypt Plaintext in a context of the subject's tenant.
type EncryptRequest struct {
	Context        string
	Plaintext      []byte
	AssociatedData []byte
	Algorithm      string // empty, or the context's own
	Usage          string // empty, or one of Usages
	Dst            []byte // the frame is appended to Dst[:0]; may be nil
}

// EncryptResult holds the whole ciphertext frame (package envelope).
type EncryptResult struct {
	Ciphertext []byte
	Algorithm  string
	KeyID      string
	Format     int
	Warnings   []string
}

// Usages are what a caller may say the data is for: specification section 3, original usage contexts. There is one suite so
// far, which serves all of them.
var Usages = []string{"at_rest", "in_transit", "in_use", "streaming"}

// maxRaces is how often an operation starts again because records changed under it.
const maxRaces = 3

// Encrypt protects a plaintext with the active key version of a context.
func (e *Engine) Encrypt(ctx context.Context, c *Call, in *EncryptRequest) (EncryptResult, error) {
	r := c.begin(policy.Encrypt)
	r.Context, r.In = in.Context, len(in.Plaintext)
	out, err := e.encrypt(ctx, c.Subject, in, &r)
	if err := e.finish(c, &r, err); err != nil {
		return EncryptResult{}, err
	}
	return out, nil
}

func (e *Engine) encrypt(ctx context.Context, s *policy.Subject, in *EncryptRequest, r *audit.Record) (EncryptResult, error) {
	if err := checkUsage(in.Usage); err != nil {
		return EncryptResult{}, err
	}
	for range maxRaces {
		p, err := e.authorize(s, policy.Encrypt, in.Context)
		if err != nil {
			return EncryptResult{}, err
		}
		v := p.active
		if in.Algorithm != "" && algs.Name(in.Algorithm) != v.Algorithm {
			return EncryptResult{}, fault.New(fault.AlgorithmDisallowed, "engine.encrypt", "the context does not allow the algorithm")
		}
		if !v.State.Allows(keys.Protect) {
			return EncryptResult{}, fault.New(fault.KeyState, "engine.encrypt", "the context's key version may not protect: it is "+v.State.String())
		}
		format := int(p.context.Format)
		if format == 3 {
			err := e.spend(ctx, v)
			if errors.Is(err, errSuperseded) {
				continue
			}
			if err != nil {
				return EncryptResult{}, err
			}
		}
		frame, err := e.seal(ctx, v, format, in)
		if err != nil {
			return EncryptResult{}, err
		}
		// The decisive look at the records is the one after the work.
		if e.ledger.Epoch() != p.epoch {
			now, err := e.authorize(s, policy.Encrypt, in.Context)
			if err != nil {
				return EncryptResult{}, err
			}
			if now.active.ID != v.ID || !now.active.State.Allows(keys.Protect) {
				continue
			}
		}
		r.KeyID, r.Algorithm, r.Format, r.Out = v.ID, string(v.Algorithm), format, len(frame)
		return EncryptResult{Ciphertext: frame, Algorithm: string(v.Algorithm), KeyID: v.ID, Format: format}, nil
	}
	return EncryptResult{}, fault.New(fault.Unavailable, "engine.encrypt", "the context's key changes faster than it can be used; try again")
}

func (e *Engine) seal(ctx context.Context, v *keys.Version, format int, in *EncryptRequest) ([]byte, error) {
	d, err := e.deks.get(ctx, v, e.deriveDEK)
	if err != nil {
		return nil, err
	}
	defer d.release()
	p := envelope.Params{Format: format, Context: v.Context, KeyID: v.ID, Algorithm: v.Algorithm}
	frame, err := envelope.Seal(in.Dst[:0], p, d.key.Reveal(), in.Plaintext, in.AssociatedData)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "engine.encrypt", "", err)
	}
	return frame, nil
}

func checkUsage(usage string) error {
	if usage == "" {
		return nil
	}
	for _, u := range Usages {
		if u == usage {
			return nil
		}
	}
	return &fault.Error{
		Kind: fault.Malformed, Op: "engine.encrypt", Detail: "the usage is not known",
		Fields: []fault.Field{{Name: "usage", Detail: "one of at_rest, in_transit, in_use, streaming"}},
	}
}

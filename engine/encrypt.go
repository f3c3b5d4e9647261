package engine

import (
	"context"
	"errors"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/envelope"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kem"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
)

// EncryptRequest asks to encrypt Plaintext in a context of the subject's tenant.
type EncryptRequest struct {
	Context        string
	Plaintext      []byte
	AssociatedData []byte
	Algorithm      string // empty, or what is to be used instead of the context's own
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

// maxRaces is how often an operation starts again because records changed under it.
const maxRaces = 3

// Encrypt protects a plaintext with the active key version of a context.
func (e *Engine) Encrypt(ctx context.Context, c *Call, in *EncryptRequest) (EncryptResult, error) {
	r := c.begin(policy.Encrypt)
	r.Context, r.In = in.Context, len(in.Plaintext)
	out, err := e.encrypt(ctx, c, policy.Encrypt, in, &r)
	if err := e.finish(c, &r, err); err != nil {
		return EncryptResult{}, err
	}
	return out, nil
}

var errRaces = fault.New(fault.Unavailable, "engine.encrypt", "the context's key changes faster than it can be used; try again")

// encrypt protects one message for an action of a subject and leaves what it did in the record.
func (e *Engine) encrypt(
	ctx context.Context, c *Call, action policy.Action, in *EncryptRequest, r *audit.Record,
) (EncryptResult, error) {
	for race := range maxRaces {
		w, err := e.encryptWork(ctx, c, action, in, race == 0, r)
		if errors.Is(err, errSuperseded) {
			continue
		}
		if err != nil {
			return EncryptResult{}, err
		}
		if err := e.lookLate(ctx, c, w.plan); err != nil {
			return EncryptResult{}, err
		}
		again, err := e.superseded(c, action, w.plan, w.row, len(in.Plaintext), r)
		if err != nil {
			return EncryptResult{}, err
		}
		if again {
			continue
		}
		return e.encrypted(&w, r), nil
	}
	return EncryptResult{}, errRaces
}

// encryptedWork is a message that was encrypted, before the decisive look at the records.
type encryptedWork struct {
	plan     *plan
	row      algs.Row
	frame    []byte
	format   int
	warnings []string
}

// encryptWork does what comes before the decisive look: it returns errSuperseded when another version protects by now. spend takes
// the message from the limit of the context.
func (e *Engine) encryptWork(
	ctx context.Context, c *Call, action policy.Action, in *EncryptRequest, spend bool, r *audit.Record,
) (w encryptedWork, err error) {
	p, err := e.authorize(c, action, in.Context)
	if err != nil {
		return w, err
	}
	if spend {
		if err := e.spendShare(c.Subject, p, 1); err != nil {
			return w, err
		}
	}
	chosen, err := e.suite(p, in.Algorithm, in.Usage)
	if err != nil {
		return w, err
	}
	told, err := e.decide(p, keys.Protect, chosen.row, len(in.Plaintext), r)
	if err != nil {
		return w, err
	}
	if err := protects(p.active); err != nil {
		return w, err
	}
	m, err := e.sealer(ctx, p, chosen.row)
	if err != nil {
		return w, err
	}
	frame, err := m.seal(ctx, in.Dst[:0], in.Plaintext, in.AssociatedData)
	m.release()
	return encryptedWork{p, chosen.row, frame, m.params.Format, joined(chosen.warnings, told)}, err
}

// encrypted counts a message that passed the decisive look, and tells of it.
func (e *Engine) encrypted(w *encryptedWork, r *audit.Record) EncryptResult {
	e.protected(w.plan, 1)
	v := w.plan.active
	r.KeyID, r.Algorithm, r.Format, r.Out = v.ID, string(w.row.Name), w.format, len(w.frame)
	return EncryptResult{
		Ciphertext: w.frame, Algorithm: string(w.row.Name), KeyID: v.ID, Format: w.format, Warnings: w.warnings,
	}
}

// protects refuses a version in a state that does not protect.
func protects(v *keys.Version) error {
	if v.Allows(keys.Protect, false) {
		return nil
	}
	return fault.New(fault.KeyState, "engine.encrypt", "the key version may not protect: it is "+v.State.String())
}

// superseded takes the decisive look at the records, after lookLate: it refuses what is no longer allowed,
// with this algorithm and on so many bytes, and tells whether another version protects by now.
func (e *Engine) superseded(
	c *Call, action policy.Action, p *plan, row algs.Row, size int, r *audit.Record,
) (bool, error) {
	if e.ledger.Epoch() == p.epoch {
		return false, nil
	}
	var now *plan
	var err error
	if p.object != nil {
		now, err = e.authorizeKey(c, action, p.object.Name)
	} else {
		now, err = e.authorize(c, action, p.context.Name)
	}
	if err != nil {
		return false, err
	}
	if _, err := e.decide(now, keys.Protect, row, size, r); err != nil {
		return false, err
	}
	return now.active.ID != p.active.ID || !now.active.Allows(keys.Protect, false), nil
}

// sealer encrypts messages with one version of a context's key. Whoever has one releases it.
type sealer struct {
	engine *Engine
	v      *keys.Version
	params envelope.Params
	row    algs.Row
	dek    *held[secret.Bytes] // nil for a key pair
}

func (e *Engine) sealer(ctx context.Context, p *plan, row algs.Row) (sealer, error) {
	v := p.active
	m := sealer{engine: e, v: v, row: row, params: envelope.Params{
		Format: int(p.context.Format), Context: v.Context, KeyID: v.ID, Algorithm: row.Name,
	}}
	if row.Class == algs.ClassHybrid {
		return m, nil
	}
	var err error
	m.dek, err = e.dek(ctx, v)
	return m, err
}

func (m *sealer) release() {
	if m.dek != nil {
		m.dek.release()
	}
}

// seal appends the frame of a message to dst. It returns errSuperseded when another version protects by now.
func (m *sealer) seal(ctx context.Context, dst, plaintext, associated []byte) ([]byte, error) {
	if err := fits(m.row, uint64(len(plaintext))); err != nil {
		return nil, err
	}
	if m.params.Format == 3 {
		if err := m.engine.spend(ctx, m.v); err != nil {
			return nil, err
		}
	}
	if m.dek != nil {
		return sealed(envelope.Seal(dst, m.params, m.dek.key.Reveal(), plaintext, associated))
	}
	encapsulated, shared, err := kem.Encapsulate(m.row.Name, m.v.Public)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "engine.encrypt", "", err)
	}
	defer clear(shared)
	params := m.params
	params.Encapsulated = encapsulated
	return sealed(envelope.Seal(dst, params, shared, plaintext, associated))
}

// sealed keeps what the envelope says of the caller's input, and calls everything else a mistake of ours.
func sealed(frame []byte, err error) ([]byte, error) {
	if err != nil && fault.Of(err) == fault.Internal {
		return nil, fault.Wrap(fault.Internal, "engine.encrypt", "", err)
	}
	return frame, err
}

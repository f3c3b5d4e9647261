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

// Decrypt opens a frame. Every failure that depends on the ciphertext or its key is fault.DecryptFailed; only a frame of
// another context that the subject may also decrypt in is fault.ContextMismatch, and an algorithm that the FIPS mode does
// not allow is fault.AlgorithmNotApproved.
func (e *Engine) Decrypt(ctx context.Context, c *Call, in *DecryptRequest) (DecryptResult, error) {
	r := c.begin(policy.Decrypt)
	r.Context, r.In = in.Context, len(in.Ciphertext)
	out, err := e.decrypt(ctx, c, policy.Decrypt, in, &r)
	if err := e.finish(c, &r, err); err != nil {
		clear(out.Plaintext)
		return DecryptResult{}, err
	}
	return out, nil
}

// decrypt opens one frame for an action of a subject and leaves what it did in the record.
func (e *Engine) decrypt(
	ctx context.Context, c *Call, action policy.Action, in *DecryptRequest, r *audit.Record,
) (DecryptResult, error) {
	p, o, err := e.decryptWork(ctx, c, action, in, r)
	if err != nil {
		return DecryptResult{}, err
	}
	if err = e.lookLate(ctx, c, p); err == nil {
		err = e.stillOpens(c, action, p, &o, len(in.Ciphertext), r)
	}
	if err != nil {
		clear(o.plaintext)
		return DecryptResult{}, err
	}
	e.processed(o.version)
	r.Out = len(o.plaintext)
	return DecryptResult{Plaintext: o.plaintext, KeyID: o.keyID, Rewrap: o.rewrap(p)}, nil
}

// decryptWork does what comes before the decisive look at the records.
func (e *Engine) decryptWork(
	ctx context.Context, c *Call, action policy.Action, in *DecryptRequest, r *audit.Record,
) (*plan, opened, error) {
	p, err := e.authorize(c, action, in.Context)
	if err != nil {
		return nil, opened{}, err
	}
	if err := e.spendShare(c.Subject, p, 1); err != nil {
		return nil, opened{}, err
	}
	if action != policy.Rewrap && action != policy.RewrapBatch { // what is encrypted anew, nobody sees
		if err := e.spendBudget(c.Subject, p, 1, len(in.Ciphertext)); err != nil {
			return nil, opened{}, err
		}
	}
	o, err := e.open(ctx, c, action, p, in, r)
	r.KeyID, r.Algorithm, r.Format = o.keyID, string(o.row.Name), o.frame.Format
	return p, o, err
}

// opened is a frame that was opened, or as much of it as its failure may tell the auditor.
type opened struct {
	frame     envelope.Frame
	keyID     string // empty until the record of the key was found to fit
	row       algs.Row
	version   *keys.Version // nil with a key of an imported deployment, and when the record of none was found to fit
	legacy    bool          // the key belongs to an imported deployment
	plaintext []byte
}

// rewrap tells that the frame is not what would be written today.
func (o *opened) rewrap(p *plan) bool {
	return o.legacy || o.keyID != p.active.ID || o.frame.Format != int(p.context.Format)
}

// open opens a frame in the context of a plan, and leaves in the record which policies it does not meet.
func (e *Engine) open(
	ctx context.Context, c *Call, action policy.Action, p *plan, in *DecryptRequest, r *audit.Record,
) (o opened, err error) {
	o.frame, err = envelope.Parse(in.Ciphertext)
	if err != nil || o.frame.Stream {
		return o, decryptFailed(causeFrame)
	}
	f := &o.frame
	if f.Context != p.context.Name && !f.OriginalHybrid {
		if _, err := e.authorize(c, action, f.Context); err == nil {
			return o, contextMismatch(f.Context, p.context.Name)
		}
		return o, e.pretend(f, in, causeContext)
	}
	if err := e.decideOpening(p, f, len(in.Ciphertext), r); err != nil {
		return o, err
	}
	key, why, err := e.openingKey(ctx, p, &o)
	if err != nil {
		return o, err
	}
	if why != "" {
		return o, e.pretend(f, in, why)
	}
	if o.legacy {
		o.plaintext, err = f.OpenImported(in.Dst[:0], key.bytes(), in.AssociatedData)
	} else {
		o.plaintext, err = f.Open(in.Dst[:0], key.bytes(), in.AssociatedData)
	}
	key.release()
	if err != nil {
		return o, decryptFailed(openCause(err))
	}
	return o, nil
}

// decideOpening reports whether a frame may be opened by the policies of a plan. The algorithm is the one that the frame claims:
// it is the one that it would be opened with, and what is decided before any key is looked for tells nothing about keys.
func (e *Engine) decideOpening(p *plan, f *envelope.Frame, size int, r *audit.Record) error {
	row, ok := algs.Of(f.Algorithm, algs.ClassAEAD, algs.ClassHybrid)
	if !ok {
		return nil // nothing opens it
	}
	_, err := e.decide(p, keys.Process, row, size, r)
	return err
}

func contextMismatch(got, want string) error {
	return fault.Wrap(fault.ContextMismatch, "engine.decrypt",
		"context mismatch: the ciphertext belongs to "+got+", not to "+want, causeContext)
}

// openingKey is the key that opens one frame.
type openingKey struct {
	cached *held[secret.Bytes] // a data key, or
	shared []byte              // the secret that was encapsulated for this message
}

func (k *openingKey) bytes() []byte {
	if k.cached != nil {
		return k.cached.key.Reveal()
	}
	return k.shared
}

func (k *openingKey) release() {
	if k.cached != nil {
		k.cached.release()
	}
	clear(k.shared)
}

// openingKey returns the key that a frame names, which the caller must release, or why there is none: the frame is then to
// be treated like one with a wrong key.
func (e *Engine) openingKey(ctx context.Context, p *plan, o *opened) (openingKey, fault.Cause, error) {
	f := &o.frame
	v := p.version(f.KeyID)
	if v == nil {
		if k := p.tenant.LegacyKey(f.KeyID); k != nil {
			return e.legacyKey(ctx, p, k, o)
		}
	}
	if why := unusable(v, p, f); why != "" {
		return openingKey{}, why, nil
	}
	o.row, _ = algs.Lookup(f.Algorithm)
	if err := e.gate(o.row, algs.Process); err != nil {
		return openingKey{}, "", err
	}
	o.keyID, o.version = v.ID, v
	if o.row.Class != algs.ClassHybrid {
		d, err := e.dek(ctx, v)
		return openingKey{cached: d}, "", err
	}
	private, err := e.opener(ctx, v)
	if err != nil {
		return openingKey{}, "", err
	}
	defer private.release()
	shared, err := private.key.Decapsulate(f.Encapsulated)
	if err != nil {
		return openingKey{}, causeCommitment, nil
	}
	return openingKey{shared: shared}, "", nil
}

// stillOpens takes the decisive look at the records, after lookLate.
func (e *Engine) stillOpens(c *Call, action policy.Action, p *plan, o *opened, size int, r *audit.Record) error {
	if e.ledger.Epoch() == p.epoch {
		return nil
	}
	now, err := e.authorize(c, action, p.context.Name)
	if err != nil {
		return err
	}
	if err := e.decideOpening(now, &o.frame, size, r); err != nil {
		return err
	}
	if o.legacy {
		if why := unusableLegacy(now.tenant.LegacyKey(o.frame.KeyID), now); why != "" {
			return decryptFailed(why)
		}
		return nil
	}
	if why := unusable(now.version(o.frame.KeyID), now, &o.frame); why != "" {
		e.forget(o.keyID)
		return decryptFailed(why)
	}
	return nil
}

// processes reports whether a version may process for the plan's subject, who may be allowed to use compromised ones.
func (p *plan) processes(v *keys.Version) bool {
	return v.Allows(keys.Process, p.compromised) && v.Number >= p.minimum
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
	case v == nil || v.Context != p.context.Name || v.Object != "":
		return causeKey
	case !p.processes(v):
		return causeKeyState
	case !opens(v, f):
		return causeAlgorithm
	default:
		return ""
	}
}

// opens reports whether a frame of this format and algorithm can have been made with a version.
func opens(v *keys.Version, f *envelope.Frame) bool {
	row, ok := algs.Of(f.Algorithm, algs.ClassAEAD, algs.ClassHybrid)
	switch {
	case !ok || row.ReadOnly || f.Format < 3:
		return false
	case f.Algorithm == v.Algorithm:
		return f.Format == 4 || v.Bits == row.KeyBits
	default:
		// Format 4 binds each message's key to its algorithm, so one data key serves all of them.
		return f.Format == 4 && row.Class == algs.ClassAEAD && v.Derived() && v.Bits == keys.DEKBits
	}
}

// pretend does the work of a decryption with a wrong key and returns its failure.
func (e *Engine) pretend(f *envelope.Frame, in *DecryptRequest, why fault.Cause) error {
	if key := e.decoys[f.Algorithm]; key != nil && len(f.Encapsulated) > 0 {
		if shared, err := key.Decapsulate(f.Encapsulated); err == nil {
			clear(shared)
		}
	}
	f.Pretend(in.AssociatedData)
	return decryptFailed(why)
}

// decapsulator is a private key that takes a secret out of a ciphertext.
type decapsulator interface {
	Decapsulate(ciphertext []byte) ([]byte, error)
}

// newDecoys returns a private key for each algorithm that encapsulates, for frames that name no usable one.
func newDecoys() (map[algs.Name]decapsulator, error) {
	decoys := map[algs.Name]decapsulator{}
	for _, row := range algs.Rows() {
		if row.Class != algs.ClassHybrid || row.ReadOnly {
			continue
		}
		_, private, err := kem.Generate(row.Name)
		if err != nil {
			return nil, err
		}
		if decoys[row.Name], err = kem.ParsePrivate(row.Name, private); err != nil {
			return nil, err
		}
		clear(private)
	}
	decoys[algs.ChaCha20Poly1305MLKEM768] = decoys[algs.AES256GCMMLKEM768] // the same encapsulation
	return decoys, nil
}

func openCause(err error) fault.Cause {
	if errors.Is(err, envelope.ErrCommitment) {
		return causeCommitment
	}
	return causeTag
}

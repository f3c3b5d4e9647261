package engine

import (
	"context"
	"errors"
	"slices"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// MaxBatch is the most items of one batch.
const MaxBatch = audit.MaxItems

// BatchItem is one message or frame of a batch.
type BatchItem struct {
	Data           []byte
	AssociatedData []byte
}

// BatchRequest asks for one operation on each item, all in one context.
type BatchRequest struct {
	Context   string
	Algorithm string // for encrypting: as in EncryptRequest
	Usage     string
	Items     []BatchItem
	Dst       []byte // the results are appended to Dst[:0]; may be nil
}

// BatchItemResult is what became of one item. Err is nil or a fault as the single operation gives it.
type BatchItemResult struct {
	Data      []byte // frame or plaintext; a part of BatchResult.Dst
	Algorithm string
	KeyID     string
	Format    int
	Rewrap    bool // for decrypting
	Err       error
}

// BatchResult holds a result for each item, in their order.
type BatchResult struct {
	Items    []BatchItemResult
	Warnings []string
	Dst      []byte
}

// Failed counts the items that failed.
func (b *BatchResult) Failed() int {
	n := 0
	for i := range b.Items {
		if b.Items[i].Err != nil {
			n++
		}
	}
	return n
}

// refusal returns what a policy says against every item. Nothing has come out then, and the batch is refused as a whole.
func (b *BatchResult) refusal() error {
	if slices.ContainsFunc(b.Items, func(o BatchItemResult) bool { return !byPolicy(o.Err) }) {
		return nil
	}
	return b.Items[0].Err
}

// wipe overwrites the results.
func (b *BatchResult) wipe() {
	clear(b.Dst)
	for i := range b.Items {
		clear(b.Items[i].Data)
	}
}

// EncryptBatch encrypts each item under the same key version, with one audit record that has an entry for each. An item
// that cannot be encrypted fails alone.
func (e *Engine) EncryptBatch(ctx context.Context, c *Call, in *BatchRequest) (BatchResult, error) {
	return e.batch(c, policy.EncryptBatch, in, func(r *audit.Record) (BatchResult, error) {
		return e.encryptBatch(ctx, c, in, r)
	})
}

// DecryptBatch opens each item, with one audit record that has an entry for each. An item that cannot be opened fails
// alone.
func (e *Engine) DecryptBatch(ctx context.Context, c *Call, in *BatchRequest) (BatchResult, error) {
	return e.batch(c, policy.DecryptBatch, in, func(r *audit.Record) (BatchResult, error) {
		return e.decryptBatch(ctx, c, in, r)
	})
}

// RewrapBatch encrypts what each item holds anew, as Rewrap does one.
func (e *Engine) RewrapBatch(ctx context.Context, c *Call, in *BatchRequest) (BatchResult, error) {
	return e.batch(c, policy.RewrapBatch, in, func(r *audit.Record) (BatchResult, error) {
		return e.rewrapBatch(ctx, c, in, r)
	})
}

// batch does what the operations on batches share: the bounds, and the record with its entries.
func (e *Engine) batch(c *Call, action policy.Action, in *BatchRequest, operate func(*audit.Record) (BatchResult, error)) (BatchResult, error) {
	r := c.begin(action)
	r.Context = in.Context
	for i := range in.Items {
		r.In += len(in.Items[i].Data)
	}
	var out BatchResult
	err := checkBatch(in)
	if err == nil {
		out, err = operate(&r)
	}
	if err == nil {
		err = out.refusal()
	}
	if err == nil {
		account(&r, in, &out)
	}
	if err := e.finish(c, &r, err); err != nil {
		out.wipe()
		return BatchResult{}, err
	}
	return out, nil
}

func checkBatch(in *BatchRequest) error {
	switch n := len(in.Items); {
	case n == 0:
		return malformedField("items", "is empty")
	case n > MaxBatch:
		return &fault.Error{
			Kind: fault.TooLarge, Op: "engine.batch", Detail: "the batch has more than 1000 items",
			Fields: []fault.Field{{Name: "items", Detail: "at most 1000 are taken at once"}},
		}
	default:
		return nil
	}
}

// account writes an entry for each item into the record.
func account(r *audit.Record, in *BatchRequest, out *BatchResult) {
	r.Items = make([]audit.Item, len(out.Items))
	for i := range out.Items {
		o := &out.Items[i]
		r.Items[i] = audit.Item{KeyID: o.KeyID, In: len(in.Items[i].Data), Out: len(o.Data)}
		if o.Err != nil {
			r.Items[i].Code, r.Items[i].Cause = fault.Of(o.Err).Code(), string(fault.CauseOf(o.Err))
		}
		r.Out += len(o.Data)
	}
	// An item without a key id has the record's in the log, so the record has one only when each item has.
	if r.KeyID = out.Items[0].KeyID; slices.ContainsFunc(out.Items, func(o BatchItemResult) bool { return o.KeyID == "" }) {
		r.KeyID = ""
	}
}

// itemFault reports whether an error is about one item only. Any other would meet each item, so it ends the batch.
func itemFault(err error) bool {
	switch fault.Of(err) {
	case fault.Malformed, fault.DecryptFailed, fault.ContextMismatch, fault.TooLarge, fault.AlgorithmDisallowed, fault.AlgorithmNotApproved,
		fault.KeyState:
		return true
	default:
		return byPolicy(err) // which may be about the item's size or algorithm
	}
}

func (e *Engine) encryptBatch(ctx context.Context, c *Call, in *BatchRequest, r *audit.Record) (BatchResult, error) {
	for race := range maxRaces {
		p, err := e.authorize(c, policy.EncryptBatch, in.Context)
		if err != nil {
			return BatchResult{}, err
		}
		if race == 0 {
			if err := e.spendShare(c.Subject, p, len(in.Items)); err != nil {
				return BatchResult{}, err
			}
		}
		chosen, err := e.suite(p, in.Algorithm, in.Usage)
		if err != nil {
			return BatchResult{}, err
		}
		if err := protects(p.active); err != nil {
			return BatchResult{}, err
		}
		out, err := e.sealItems(ctx, p, chosen, in, r)
		if errors.Is(err, errSuperseded) {
			continue
		}
		if err != nil {
			return BatchResult{}, err
		}
		if err := e.lookLate(ctx, c, p); err != nil {
			return BatchResult{}, err
		}
		again, err := e.supersededItems(c, p, chosen.row, in, &out, r)
		if err != nil {
			return BatchResult{}, err
		}
		if again {
			continue
		}
		e.protected(p, uint64(len(out.Items)-out.Failed())) //nolint:gosec // not negative
		r.KeyID, r.Algorithm, r.Format = p.active.ID, string(chosen.row.Name), int(p.context.Format)
		return out, nil
	}
	return BatchResult{}, errRaces
}

// supersededItems is superseded for the items of a batch: policies that came meanwhile count for each of them.
func (e *Engine) supersededItems(
	c *Call, p *plan, row algs.Row, in *BatchRequest, out *BatchResult, r *audit.Record,
) (again bool, err error) {
	if e.ledger.Epoch() == p.epoch {
		return false, nil
	}
	for i := range in.Items {
		again, err = e.superseded(c, policy.EncryptBatch, p, row, len(in.Items[i].Data), r)
		switch o := &out.Items[i]; {
		case again || err != nil && !byPolicy(err):
			return again, err
		case err != nil && o.Err == nil:
			clear(o.Data)
			o.Data, o.Err = nil, err
		}
	}
	return false, nil
}

var errGone = fault.New(fault.Unavailable, "engine.batch", "the caller has gone, or the time is up")

func (e *Engine) sealItems(ctx context.Context, p *plan, chosen suite, in *BatchRequest, r *audit.Record) (BatchResult, error) {
	m, err := e.sealer(ctx, p, chosen.row)
	if err != nil {
		return BatchResult{}, err
	}
	defer m.release()
	out := BatchResult{Items: make([]BatchItemResult, len(in.Items)), Warnings: chosen.warnings}
	dst := in.Dst[:0]
	ends := make([]int, len(in.Items))
	for i := range in.Items {
		if ctx.Err() != nil {
			return out, errGone
		}
		item := &in.Items[i]
		told, err := e.decide(p, keys.Protect, chosen.row, len(item.Data), r)
		var frame []byte
		if err == nil {
			out.Warnings = joined(out.Warnings, told)
			frame, err = m.seal(ctx, dst, item.Data, item.AssociatedData)
		}
		switch {
		case err == nil:
			dst = frame
		case !itemFault(err):
			return out, err
		}
		ends[i] = len(dst)
		out.Items[i] = BatchItemResult{Algorithm: string(chosen.row.Name), KeyID: m.v.ID, Format: m.params.Format, Err: err}
	}
	out.cut(dst, ends)
	return out, nil
}

// cut gives each item its part of dst, which moves while it grows.
func (b *BatchResult) cut(dst []byte, ends []int) {
	b.Dst = dst
	start := 0
	for i, end := range ends {
		b.Items[i].Data = dst[start:end:end]
		start = end
	}
}

func (e *Engine) decryptBatch(ctx context.Context, c *Call, in *BatchRequest, r *audit.Record) (BatchResult, error) {
	p, err := e.authorize(c, policy.DecryptBatch, in.Context)
	if err != nil {
		return BatchResult{}, err
	}
	if err := e.spendShare(c.Subject, p, len(in.Items)); err != nil {
		return BatchResult{}, err
	}
	size := 0
	for i := range in.Items {
		size += len(in.Items[i].Data)
	}
	if err := e.spendBudget(c.Subject, p, len(in.Items), size); err != nil {
		return BatchResult{}, err
	}
	out := BatchResult{Items: make([]BatchItemResult, len(in.Items)), Dst: in.Dst[:0]}
	frames := make([]opened, len(in.Items))
	ends := make([]int, len(in.Items))
	for i := range in.Items {
		item, o := &in.Items[i], &frames[i]
		// Room is made before, so that no plaintext is left behind where the results moved away from.
		out.Dst = reserve(out.Dst, len(item.Data))
		one := DecryptRequest{Context: in.Context, Ciphertext: item.Data, AssociatedData: item.AssociatedData, Dst: out.Dst[len(out.Dst):]}
		*o, err = e.open(ctx, c, policy.DecryptBatch, p, &one, r)
		if err != nil && !itemFault(err) {
			out.wipe()
			return BatchResult{}, err
		}
		out.Dst = append(out.Dst, o.plaintext...) // which is there already
		ends[i] = len(out.Dst)
		out.Items[i] = BatchItemResult{
			Algorithm: string(o.row.Name), KeyID: o.keyID, Format: o.frame.Format, Rewrap: err == nil && o.rewrap(p), Err: err,
		}
	}
	out.cut(out.Dst, ends)
	if err := e.lookLate(ctx, c, p); err != nil {
		out.wipe()
		return BatchResult{}, err
	}
	for i := range frames {
		item := &out.Items[i]
		if item.Err == nil {
			item.Err = e.stillOpens(c, policy.DecryptBatch, p, &frames[i], len(in.Items[i].Data), r)
			if item.Err != nil && !itemFault(item.Err) {
				out.wipe()
				return BatchResult{}, item.Err
			}
		}
		if item.Err != nil {
			clear(item.Data)
			item.Data = nil
			continue
		}
		e.processed(frames[i].version)
	}
	return out, nil
}

// reserve returns b with room for n more bytes. What moves is overwritten where it was.
func reserve(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	more := make([]byte, len(b), max(2*cap(b), len(b)+n))
	copy(more, b)
	clear(b)
	return more
}

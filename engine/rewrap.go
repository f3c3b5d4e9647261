package engine

import (
	"context"
	"errors"

	"cryptoserve/engine/audit"
	"cryptoserve/engine/policy"
)

// RewrapRequest asks to encrypt what a frame holds anew with the context's active key version and its algorithm.
type RewrapRequest struct {
	Context        string
	Ciphertext     []byte
	AssociatedData []byte
	Dst            []byte
}

// Rewrap opens a frame and encrypts what it held with the context's active key version. No plaintext leaves the engine.
func (e *Engine) Rewrap(ctx context.Context, c *Call, in *RewrapRequest) (EncryptResult, error) {
	r := c.begin(policy.Rewrap)
	r.Context, r.In = in.Context, len(in.Ciphertext)
	out, err := e.rewrap(ctx, c, policy.Rewrap, in, &r)
	if err := e.finish(c, &r, err); err != nil {
		return EncryptResult{}, err
	}
	return out, nil
}

func (e *Engine) rewrap(
	ctx context.Context, c *Call, action policy.Action, in *RewrapRequest, r *audit.Record,
) (EncryptResult, error) {
	plain, err := e.decrypt(ctx, c, action, &DecryptRequest{
		Context: in.Context, Ciphertext: in.Ciphertext, AssociatedData: in.AssociatedData,
	}, r)
	defer clear(plain.Plaintext)
	if err == nil {
		err = e.held(c) // what follows decides about the other half only
	}
	if err != nil {
		return EncryptResult{}, err
	}
	r.Resource = plain.KeyID // the version that it was under before
	return e.encrypt(ctx, c, action, &EncryptRequest{
		Context: in.Context, Plaintext: plain.Plaintext, AssociatedData: in.AssociatedData, Dst: in.Dst,
	}, r)
}

// rewrappedItem is one item of a batch, opened and encrypted anew, before the decisive look at the records.
type rewrappedItem struct {
	opening *plan
	opened  opened
	work    encryptedWork
	record  audit.Record
}

// rewrapBatch works on all items first: then one decisive look is for all of them.
func (e *Engine) rewrapBatch(ctx context.Context, c *Call, in *BatchRequest, r *audit.Record) (BatchResult, error) {
	p, err := e.authorize(c, policy.RewrapBatch, in.Context)
	if err != nil {
		return BatchResult{}, err
	}
	out := BatchResult{Items: make([]BatchItemResult, len(in.Items))}
	work := make([]rewrappedItem, len(in.Items))
	for i := range in.Items {
		if ctx.Err() != nil {
			return out, errGone
		}
		work[i].record.Policies = r.Policies
		err := e.rewrapWork(ctx, c, in.request(i), &work[i])
		r.Policies = work[i].record.Policies
		if err != nil && !itemFault(err) {
			return out, err
		}
		out.Items[i].Err = err
	}
	if err := e.lookLate(ctx, c, p); err != nil {
		return out, err
	}
	for i := range in.Items {
		item, w := &out.Items[i], &work[i]
		w.record.Policies = r.Policies
		var res EncryptResult
		if item.Err == nil {
			res, item.Err = e.rewrapEnd(ctx, c, in.request(i), w)
		}
		r.Policies = w.record.Policies
		if item.Err != nil && !itemFault(item.Err) {
			return out, item.Err
		}
		*item = BatchItemResult{Data: res.Ciphertext, Algorithm: res.Algorithm, KeyID: res.KeyID, Format: res.Format, Err: item.Err}
		r.Algorithm = w.record.Algorithm
		out.Warnings = joined(out.Warnings, res.Warnings)
	}
	return out, nil
}

// request returns one item of a batch as a request of its own.
func (in *BatchRequest) request(i int) *RewrapRequest {
	return &RewrapRequest{Context: in.Context, Ciphertext: in.Items[i].Data, AssociatedData: in.Items[i].AssociatedData}
}

// rewrapWork opens an item and encrypts what it holds.
func (e *Engine) rewrapWork(ctx context.Context, c *Call, in *RewrapRequest, w *rewrappedItem) error {
	var err error
	w.opening, w.opened, err = e.decryptWork(ctx, c, policy.RewrapBatch, &DecryptRequest{
		Context: in.Context, Ciphertext: in.Ciphertext, AssociatedData: in.AssociatedData,
	}, &w.record)
	defer clear(w.opened.plaintext)
	for race := range maxRaces {
		if err != nil {
			return err
		}
		w.work, err = e.encryptWork(ctx, c, policy.RewrapBatch, &EncryptRequest{
			Context: in.Context, Plaintext: w.opened.plaintext, AssociatedData: in.AssociatedData,
		}, race == 0, &w.record)
		if !errors.Is(err, errSuperseded) {
			return err
		}
		err = nil
	}
	return errRaces
}

// rewrapEnd looks at the records of both halves of an item, and does it again when another version protects by now.
func (e *Engine) rewrapEnd(ctx context.Context, c *Call, in *RewrapRequest, w *rewrappedItem) (EncryptResult, error) {
	const action = policy.RewrapBatch
	if err := e.stillOpens(c, action, w.opening, &w.opened, len(in.Ciphertext), &w.record); err != nil {
		return EncryptResult{}, err
	}
	again, err := e.superseded(c, action, w.work.plan, w.work.row, len(w.opened.plaintext), &w.record)
	if err != nil {
		return EncryptResult{}, err
	}
	if again {
		// The lease in the call is that of the items before: it is asked for before another one takes its place.
		if err := e.held(c); err != nil {
			return EncryptResult{}, err
		}
		return e.rewrap(ctx, c, action, in, &w.record)
	}
	e.processed(w.opened.version)
	return e.encrypted(&w.work, &w.record), nil
}

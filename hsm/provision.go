package hsm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
)

// Provision makes the keys of a first run, in the token and with the attributes of the table in objects.go. It refuses
// with fault.Conflict, naming them, when an object with one of the labels exists. It reads the new objects back, opens
// the token anew so that they come from where the token keeps them rather than from its memory, proves that they are
// the same keys, and loads them.
//
// When it fails half way, the objects it made are deleted. Where that cannot be done (the token is gone, or has lost
// one), the error names what may be left. Nothing is encrypted with those keys, so they may be deleted by the vendor's
// tool.
func (t *Token) Provision(ctx context.Context) error {
	const op = "hsm.Provision"
	return t.alone(ctx, op, t.provision)
}

// alone runs f while it holds every session of a token that is up, for work that opens the token anew. What went wrong with
// the token counts as an outage.
func (t *Token) alone(ctx context.Context, op string, f func(all []*session) error) error {
	return t.exclusively(ctx, op, func(all []*session) error {
		if err := t.health.Load().refuse(op); err != nil {
			return err
		}
		err := describe(op, f(all))
		if class := classOf(err); err != nil && (class == classGone || !t.attached) {
			t.markDown(err)
		}
		return err
	})
}

func (t *Token) provision(all []*session) error {
	const op = "hsm.Provision"
	s := all[0]
	present, _, joining, err := t.inventory(s)
	if err != nil {
		return err
	}
	if joining {
		present = append(present, LabelJoin)
	}
	if len(present) > 0 {
		return fault.New(fault.Conflict, op, "the token already has "+strings.Join(present, ", ")+
			"; nothing was made. Load them, or use an empty token")
	}
	var made []pkcs11.ObjectHandle
	for i := range t.specs {
		handles, err := t.generate(s, &t.specs[i])
		if err != nil {
			return t.undo(s, made, fmt.Errorf("make %s: %w", t.specs[i].label, err))
		}
		made = append(made, handles...)
	}
	if err := t.load(s); err != nil {
		return t.undo(s, made, err)
	}
	if err := t.reconnect(all); err != nil {
		t.keys.Store(nil)
		return t.leftBehind(err)
	}
	// load compares with the keys before the token was opened anew.
	if err := t.load(s); err != nil {
		t.keys.Store(nil)
		return t.leftBehind(err)
	}
	return nil
}

// undo deletes the objects with these handles, which this Provision made in this session.
func (t *Token) undo(s *session, made []pkcs11.ObjectHandle, cause error) error {
	t.keys.Store(nil)
	var failed []error
	for _, h := range made {
		if err := t.module.DestroyObject(s.handle, h); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return t.leftBehind(errors.Join(append([]error{cause}, failed...)...))
	}
	return cause
}

// leftBehind tells the operator what to do about objects that could not be deleted.
func (t *Token) leftBehind(cause error) error {
	_, row, ok := lookUp(cause)
	if !ok {
		row.kind = fault.Of(cause)
	}
	return fault.Wrap(row.kind, "hsm.Provision", "the token may be left with some of "+strings.Join(labels(t.specs), ", ")+
		"; nothing is encrypted with them: delete them with the vendor's tool, then start again", cause)
}

// generate makes one key and returns the handles of its objects.
func (t *Token) generate(s *session, sp *spec) ([]pkcs11.ObjectHandle, error) {
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(sp.mechanism, nil)}
	private, free, err := sp.private.template(sp.label)
	if err != nil {
		return nil, err
	}
	defer free()
	if sp.public == nil {
		h, err := t.module.GenerateKey(s.handle, mechanism, private)
		if err != nil {
			return nil, err
		}
		return []pkcs11.ObjectHandle{h}, nil
	}
	public, freePublic, err := sp.public.template(sp.label)
	if err != nil {
		return nil, err
	}
	defer freePublic()
	pub, priv, err := t.module.GenerateKeyPair(s.handle, mechanism, public, private)
	if err != nil {
		return nil, err
	}
	return []pkcs11.ObjectHandle{pub, priv}, nil
}

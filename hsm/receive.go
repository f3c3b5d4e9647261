package hsm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
)

// ReceiveKeys unwraps the keys of a cluster into a token that PrepareJoin made ready, with the attributes of the table in
// objects.go. It reads them back, opens the token anew, compares the key check values with those of the transfer, deletes
// cs-join and loads the keys. It may be repeated, after a crash too: a token that has the keys already is loaded.
//
// When it fails, the keys it made are deleted and none is used; cs-join stays, for another try. fault.Malformed with the field
// transfer when a blob is not wrapped for this token, and fault.Conflict with ErrOtherMaster when a key is not the announced one.
func (t *Token) ReceiveKeys(ctx context.Context, transfer Transfer) error {
	const op = "hsm.ReceiveKeys"
	return t.alone(ctx, op, func(all []*session) error {
		present, _, joining, err := t.inventory(all[0])
		if err != nil {
			return err
		}
		if joining {
			return t.receiveKeys(op, all, &transfer)
		}
		if len(present) < len(t.specs) {
			return fault.Wrap(fault.Conflict, op, "the token has no "+LabelJoin+": it was not made ready to receive keys; begin to join again",
				ErrNotProvisioned)
		}
		keys, err := t.matching(op, all[0], transfer.KeyCheckValues)
		if err != nil {
			return err
		}
		t.keys.Store(keys)
		return t.keepFiles(op) // whoever deleted cs-join may not have come so far
	})
}

func (t *Token) receiveKeys(op string, all []*session, transfer *Transfer) (err error) {
	if t.keys.Load() != nil {
		return fault.New(fault.Conflict, op, "the keys of the token are in use and it has a "+LabelJoin+
			" beside them; nothing was done. Delete it with the vendor's tool")
	}
	if err := t.deleteReceived(op, all[0]); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.deleteReceived(op, all[0]))
		}
	}()
	if err := t.unwrapKeys(op, all[0], transfer); err != nil {
		return err
	}
	if _, err := t.matching(op, all[0], transfer.KeyCheckValues); err != nil {
		return err
	}
	// As in Provision: from where the token keeps them.
	if err := t.reconnect(all); err != nil {
		return err
	}
	keys, err := t.matching(op, all[0], transfer.KeyCheckValues)
	if err != nil {
		return err
	}
	// From here on the keys count as received whole: everything is on disk before cs-join goes.
	if err := t.keepFiles(op); err != nil {
		return err
	}
	if err := t.deleteLabels(op, all[0], LabelJoin); err != nil {
		return err
	}
	t.keys.Store(keys)
	return t.keepFiles(op)
}

// unwrapKeys makes the three keys and reads their attributes back.
func (t *Token) unwrapKeys(op string, s *session, transfer *Transfer) error {
	at := slices.IndexFunc(importOAEP, func(o *oaep) bool { return o.name == transfer.OAEPHash })
	if at < 0 {
		return field(op, "transfer", "its hash is neither SHA-256 nor SHA-1")
	}
	pair, err := t.find(s, &joinSpec)
	if err != nil {
		return err
	}
	blobs := map[string][]byte{
		LabelMaster: transfer.Master, LabelWrapPrivate: transfer.WrapPrivate, LabelWrapSecret: transfer.WrapSecret,
	}
	for i := range t.specs {
		sp := &t.specs[i]
		if sp.label == t.cfg.NodeLabel {
			continue
		}
		blob := blobs[sp.label]
		if len(blob) != joinBits/8 {
			return field(op, "transfer", fmt.Sprintf("its %s has %d bytes, not %d", sp.label, len(blob), joinBits/8))
		}
		if err := t.unwrapKey(s, importOAEP[at], pair, blob, sp); err != nil {
			if t.blobAtFault(s, err) {
				return &fault.Error{Kind: fault.Malformed, Op: op, Err: err, Detail: "the " + sp.label + " of the transfer is not wrapped for the " +
					LabelJoin + " of this token: it was damaged, or is of an earlier try. No key was kept; begin to join again",
					Fields: []fault.Field{{Name: "transfer", Detail: "it is not wrapped for this token"}}}
			}
			return fmt.Errorf("receive %s: %w", sp.label, err)
		}
		if _, err := t.find(s, sp); err != nil {
			return err
		}
	}
	return nil
}

// unwrapKey makes one key of the table from a blob. SoftHSM2 takes no attribute after CKA_MODIFIABLE false in C_UnwrapKey
// (CKR_ATTRIBUTE_READ_ONLY), so that one comes last, and never CKA_VALUE_LEN, which the check value stands for.
func (t *Token) unwrapKey(s *session, hash *oaep, pair pkcs11.ObjectHandle, blob []byte, sp *spec) error {
	first := sp.private
	first.attributes = slices.DeleteFunc(slices.Clone(first.attributes), func(a attribute) bool {
		return a.typ == pkcs11.CKA_MODIFIABLE || a.typ == pkcs11.CKA_VALUE_LEN
	})
	template, free, err := first.template(sp.label)
	if err != nil {
		return err
	}
	defer free()
	template = append(template, pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false))
	_, err = t.module.UnwrapKey(s.handle, hash.mechanism(nil), pair, blob, template)
	return err
}

// blobAtFault tells whether an unwrap failed because of the blob: the token refused it, or said nothing specific and is well.
func (t *Token) blobAtFault(s *session, err error) bool {
	code, row, _ := lookUp(err)
	switch {
	case row.kind == fault.DecryptFailed:
		return true
	case code == pkcs11.CKR_GENERAL_ERROR || code == pkcs11.CKR_FUNCTION_FAILED:
		return t.alive(s) == nil
	default:
		return false
	}
}

// matching finds and proves every key, and refuses them unless they have the check values.
func (t *Token) matching(op string, s *session, want KCVs) (*keySet, error) {
	keys, err := t.gather(s)
	if err != nil {
		return nil, err
	}
	return keys, matches(op, keys, want)
}

func matches(op string, keys *keySet, want KCVs) error {
	if label, differs := want.differs(keys.identity.kcvs()); differs {
		return fault.Wrap(fault.Conflict, op, "the "+label+" in the token is not that of the cluster: its key check value is another one. "+
			"It is not used", ErrOtherMaster)
	}
	return nil
}

// AdoptKeys takes the keys of a cluster that are in the token already: nodes share it, or the vendor's tool copied the keys
// there. They must have these key check values; empty ones are any, for a node that learns those of the cluster later. It makes a node
// key, and loads all.
//
// A copied token may hold the node key of the node it was copied from, which nothing tells apart. So a node key that is there is
// taken for this node's only if Config.NodeLabel gives it a label of its own; one named cs-node is fault.Conflict.
//
// fault.Unavailable with ErrNotProvisioned when a key is missing, fault.Conflict with ErrOtherMaster when it is another one. When
// it fails, a node key that it made is deleted; it may be repeated.
func (t *Token) AdoptKeys(ctx context.Context, want KCVs) error {
	const op = "hsm.AdoptKeys"
	return t.alone(ctx, op, func(all []*session) error { return t.adoptKeys(op, all, want) })
}

func (t *Token) adoptKeys(op string, all []*session, want KCVs) (err error) {
	s := all[0]
	if keys := t.keys.Load(); keys != nil {
		return matches(op, keys, want)
	}
	_, missing, joining, err := t.inventory(s)
	if err != nil {
		return err
	}
	if joining {
		return fault.New(fault.Conflict, op, "the token has a "+LabelJoin+": it waits for keys by transfer. Use an empty token or finish that")
	}
	keys, err := t.gatherShared(s)
	if err != nil {
		return err
	}
	if len(want.Master) == 0 && len(want.WrapPrivate) == 0 && len(want.WrapSecret) == 0 {
		want = keys.identity.kcvs()
	}
	if err := matches(op, keys, want); err != nil {
		return err
	}
	node := t.nodeSpec()
	switch {
	case slices.Contains(missing, node.label):
		defer func() {
			if err != nil {
				err = errors.Join(err, t.deleteLabels(op, all[0], node.label))
			}
		}()
		if _, err := t.generate(s, node); err != nil {
			return fmt.Errorf("make %s: %w", node.label, err)
		}
	case node.label == LabelNode:
		return fault.New(fault.Conflict, op, "the token already has a "+LabelNode+", which may be that of another node; give the key of this "+
			"node a label of its own")
	}
	if err := t.reconnect(all); err != nil {
		return err
	}
	if keys, err = t.matching(op, all[0], want); err != nil {
		return err
	}
	t.keys.Store(keys)
	return nil
}

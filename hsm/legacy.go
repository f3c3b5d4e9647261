package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm/internal/hkdf"
)

// legacyKey is the kind of the master keys of imported deployments as blobs: 32 bytes for HMAC-SHA256.
var legacyKey = kinds[algs.HMACSHA256]

// LabelLegacy returns the label of an imported deployment's master key in the token.
func LabelLegacy(n uint32) string { return fmt.Sprintf("cs-legacy-%d", n) }

// legacyObject is that key as an object in the token: as the master key, but nothing has to wrap it from here, so nothing can.
// It has no CKA_VALUE_LEN, which some modules refuse in C_UnwrapKey and SoftHSM2 does not know afterwards; its length is
// checked before. CKA_MODIFIABLE is the last row because SoftHSM2 takes no row after it.
func legacyObject() object {
	o := secretKey(pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_SHA256_HMAC, nil, pkcs11.CKA_SIGN)
	var last attribute
	o.attributes = slices.DeleteFunc(o.attributes, func(a attribute) bool {
		if a.typ == pkcs11.CKA_MODIFIABLE {
			last = a
		}
		return a.typ == pkcs11.CKA_MODIFIABLE || a.typ == pkcs11.CKA_VALUE_LEN || a.typ == pkcs11.CKA_EXTRACTABLE
	})
	o.attributes = append(o.attributes, attribute{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, false}, last)
	return o
}

// UnwrapLegacy brings in the master key of an imported deployment: 32 bytes, the PRK of its HKDF, wrapped as ImportWrapped
// wants it. It leaves nothing behind in the token. blob is the key wrapped by cs-wrap-secret-1, for LegacyExpand on every
// node; kcv is its key check value, as for the master key: the first 8 bytes of HMAC-SHA256(key, "cryptoserve/kcv").
//
// fault.Malformed with the field wrapped_key as for ImportWrapped.
func (t *Token) UnwrapLegacy(ctx context.Context, pairBlob, wrapped []byte) (blob, kcv []byte, err error) {
	const op = "hsm.UnwrapLegacy"
	err = t.doLegacy(ctx, op, func(s *session) error {
		if _, blob, err = t.importKey(ctx, op, s, legacyKey, pairBlob, wrapped); err != nil {
			return err
		}
		kcv, err = t.legacyKCV(ctx, op, s, blob)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return blob, kcv, nil
}

// KeepLegacy makes a key that UnwrapLegacy brought in the object cs-legacy-<n> of this token, which signs by CKM_SHA256_HMAC
// and does nothing else, and cannot be had out. The same key again leaves the object as it is.
//
// fault.Conflict when the token has another key for n: LegacyExpand then works from the blob.
func (t *Token) KeepLegacy(ctx context.Context, n uint32, kcv, pairBlob, wrapped []byte) error {
	const op = "hsm.KeepLegacy"
	return t.doLegacy(ctx, op, func(s *session) error { return t.keepLegacy(ctx, op, s, n, kcv, pairBlob, wrapped) })
}

func (t *Token) doLegacy(ctx context.Context, op string, work func(*session) error) error {
	if err := t.lockKeygen(ctx, op); err != nil {
		return err
	}
	defer t.unlockKeygen()
	return t.do(ctx, op, func(s *session) error {
		if err := t.offered(op, importPair); err != nil {
			return err
		}
		return work(s)
	})
}

func (t *Token) legacyKCV(ctx context.Context, op string, s *session, blob []byte) (kcv []byte, err error) {
	err = t.withWrapped(ctx, op, s, legacyKey, blob, func(held *heldKey) error {
		kcv, err = t.hmacKCV(s, held.handle)
		return err
	})
	return kcv, err
}

// keepLegacy makes the object in the token, unless the same key is there already, and durable.
func (t *Token) keepLegacy(ctx context.Context, op string, s *session, n uint32, kcv, pairBlob, wrapped []byte) error {
	label := LabelLegacy(n)
	found, err := t.findLabel(s, label)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return t.makeLegacy(ctx, op, s, n, kcv, pairBlob, wrapped)
	}
	switch _, ok, err := t.findLegacy(s, n, kcv); {
	case err != nil:
		return err
	case !ok:
		return fault.New(fault.Conflict, op, "the token already has another "+label+
			"; it may belong to another deployment: take another number, or delete it with the vendor's tool")
	}
	return t.keepFiles(op) // whoever made it may not have come so far
}

// keepFiles makes durable what a new object changed, as AfterLogin does with what a login changed.
func (t *Token) keepFiles(op string) error {
	if t.cfg.AfterLogin == nil {
		return nil
	}
	if err := t.cfg.AfterLogin(); err != nil {
		return fault.Wrap(fault.HSMUnavailable, op, "the new key could not be made durable", err)
	}
	return nil
}

func (t *Token) makeLegacy(ctx context.Context, op string, s *session, n uint32, kcv, pairBlob, wrapped []byte) (err error) {
	label, o := LabelLegacy(n), legacyObject()
	template, free, err := o.template(label)
	if err != nil {
		return err
	}
	defer free()
	h, err := t.receive(ctx, op, s, pairBlob, wrapped, template)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		if derr := t.module.DestroyObject(s.handle, h); derr != nil {
			err = fault.Wrap(fault.HSMUnavailable, op, "the token may be left with "+label+"; import the same key again, or delete it "+
				"with the vendor's tool", errors.Join(err, derr))
		}
	}()
	if _, ok, err := t.findLegacy(s, n, kcv); err != nil || !ok {
		return errors.Join(err, errOtherKey)
	}
	return t.keepFiles(op)
}

// findLegacy returns the object of an imported deployment whose attributes and key check value are right. What is there and is
// not right counts as not there.
func (t *Token) findLegacy(s *session, n uint32, kcv []byte) (h pkcs11.ObjectHandle, ok bool, err error) {
	label, o := LabelLegacy(n), legacyObject()
	found, err := t.findLabel(s, label)
	if err != nil {
		return 0, false, err
	}
	for _, h := range found {
		err := o.check(t.module, s, h, label)
		if err == nil {
			var got []byte
			if got, err = t.hmacKCV(s, h); err == nil && bytes.Equal(got, kcv) {
				return h, true, nil
			}
		}
		if class := classOf(err); class == classSession || class == classGone || class == classPIN {
			return 0, false, err
		}
		t.cfg.Log.Warn("an object in the token is not the imported key that it is labelled as", "token", t.cfg.TokenLabel, "label", label)
	}
	return 0, false, nil
}

// MaxLegacyExpand is the most bytes that LegacyExpand gives.
const MaxLegacyExpand = 64

// LegacyExpand is Expand with the master key of an imported deployment, for 1 to MaxLegacyExpand bytes. The key is the object
// cs-legacy-<n> where this token has it, else the blob of ImportLegacy; either has to have the key check value kcv.
// fault.Conflict when the blob has not.
func (t *Token) LegacyExpand(ctx context.Context, n uint32, blob, kcv, info []byte, length int) (secret.Bytes, error) {
	const op = "hsm.LegacyExpand"
	if length < 1 || length > MaxLegacyExpand {
		return secret.Bytes{}, fault.New(fault.Malformed, op, "the length is not between 1 and 64 bytes")
	}
	if err := checkBlob(op, blob); err != nil {
		return secret.Bytes{}, err
	}
	id := blobID(LabelLegacy(n), kcv, blob)
	var out []byte
	err := t.do(ctx, op, func(s *session) error {
		keys, err := t.loaded(op)
		if err != nil {
			return err
		}
		return t.withKey(ctx, op, s, id, func(keeper *session) (pkcs11.ObjectHandle, bool, error) {
			return t.openLegacy(op, keeper, keys, n, blob, kcv)
		}, func(held *heldKey) error {
			out, err = hkdf.Expand(func(message []byte) ([]byte, error) { return t.hmac(s, held.handle, message) }, info, length)
			return err
		})
	})
	if err != nil {
		return secret.Bytes{}, err
	}
	return secret.New(out), nil
}

func (t *Token) openLegacy(op string, keeper *session, keys *keySet, n uint32, blob, kcv []byte) (
	h pkcs11.ObjectHandle, permanent bool, err error) {
	h, ok, err := t.findLegacy(keeper, n, kcv)
	if ok || err != nil {
		return h, true, err
	}
	h, err = t.module.UnwrapKey(keeper.handle, keyWrapPad(), keys.wrapSecret, blob, legacyKey.unwrapTemplate())
	if err != nil {
		return 0, false, err
	}
	got, err := t.hmacKCV(keeper, h)
	if err == nil && !bytes.Equal(got, kcv) {
		err = fault.New(fault.Conflict, op, "the blob of the imported key and its key check value do not belong together")
	}
	if err != nil {
		return 0, false, errors.Join(err, t.module.DestroyObject(keeper.handle, h))
	}
	return h, false, nil
}

package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

// keySet is the keys as they are found in the token now. Its handles die with the next C_Finalize.
type keySet struct {
	master      pkcs11.ObjectHandle
	wrapPrivate pkcs11.ObjectHandle
	wrapSecret  pkcs11.ObjectHandle
	node        crypto.Signer
	identity    *identity
}

// identity tells whether keys are the same keys as before.
type identity struct {
	master      []byte // key check values, 8 bytes each
	wrapPrivate []byte
	wrapSecret  []byte
	node        *ecdsa.PublicKey
}

func (id *identity) differs(other *identity, nodeLabel string) (label string, differs bool) {
	switch {
	case !bytes.Equal(id.master, other.master):
		return LabelMaster, true
	case !bytes.Equal(id.wrapPrivate, other.wrapPrivate):
		return LabelWrapPrivate, true
	case !bytes.Equal(id.wrapSecret, other.wrapSecret):
		return LabelWrapSecret, true
	case !id.node.Equal(other.node):
		return nodeLabel, true
	default:
		return "", false
	}
}

// MasterKCV returns the key check value of the master key: the first 8 bytes of HMAC-SHA256(master, "cryptoserve/kcv").
// It is not secret. nil before Provision or Load.
func (t *Token) MasterKCV() []byte {
	keys := t.keys.Load()
	if keys == nil {
		return nil
	}
	return bytes.Clone(keys.identity.master)
}

// KCVs are the key check values of the keys that every node of a cluster has, 8 bytes each. They are not secret.
type KCVs struct {
	Master      []byte // HMAC-SHA256(key, "cryptoserve/kcv")
	WrapPrivate []byte // SHA-256(KWP(key, 32 zero bytes))
	WrapSecret  []byte // the same
}

// KeyCheckValues returns the key check values of the loaded keys, empty ones before Provision, Load, ReceiveKeys or AdoptKeys.
func (t *Token) KeyCheckValues() KCVs {
	keys := t.keys.Load()
	if keys == nil {
		return KCVs{}
	}
	return keys.identity.kcvs()
}

func (id *identity) kcvs() KCVs {
	return KCVs{bytes.Clone(id.master), bytes.Clone(id.wrapPrivate), bytes.Clone(id.wrapSecret)}
}

// differs names the first key whose check value is not the same, or is none.
func (k KCVs) differs(other KCVs) (label string, differs bool) {
	for _, pair := range []struct {
		label   string
		one, to []byte
	}{
		{LabelMaster, k.Master, other.Master},
		{LabelWrapPrivate, k.WrapPrivate, other.WrapPrivate},
		{LabelWrapSecret, k.WrapSecret, other.WrapSecret},
	} {
		if len(pair.one) != kcvBytes || !bytes.Equal(pair.one, pair.to) {
			return pair.label, true
		}
	}
	return "", false
}

// Provisioned tells whether the token holds the keys of an appliance. One that is joining a cluster does not yet. Some but not
// all of the keys is an error that names the missing ones: nothing is made beside what is there.
func (t *Token) Provisioned(ctx context.Context) (bool, error) {
	const op = "hsm.Provisioned"
	var present, missing []string
	var joining bool
	err := t.do(ctx, op, func(s *session) (err error) {
		present, missing, joining, err = t.inventory(s)
		return err
	})
	switch {
	case err != nil:
		return false, err
	case joining, len(present) == 0, slices.Equal(present, []string{t.cfg.NodeLabel}):
		return false, nil
	case slices.Equal(missing, []string{t.cfg.NodeLabel}):
		return false, fault.Wrap(fault.Conflict, op, "the token has the keys of a cluster but no "+t.cfg.NodeLabel+": check the label of "+
			"the node key; a new node joins with the keys shared or preloaded", ErrNotProvisioned)
	case len(missing) > 0:
		return false, fault.Wrap(fault.Conflict, op, "the token lacks "+strings.Join(missing, ", ")+" but has "+
			strings.Join(present, ", ")+"; restore the token, or delete the rest if nothing was ever encrypted with it", ErrNotProvisioned)
	default:
		return true, nil
	}
}

// inventory sorts the labels by whether the token has any object with them. joining tells whether it has a pair that waits for
// the keys of a cluster.
func (t *Token) inventory(s *session) (present, missing []string, joining bool, err error) {
	for _, label := range append(labels(t.specs), LabelJoin) {
		found, err := t.findLabel(s, label)
		if err != nil {
			return nil, nil, false, err
		}
		switch {
		case label == LabelJoin:
			joining = len(found) > 0
		case len(found) > 0:
			present = append(present, label)
		default:
			missing = append(missing, label)
		}
	}
	return present, missing, joining, nil
}

// findLabel is the package's findLabel, where nothing found counts only while the token answers: SoftHSM2 finds no
// objects, and says CKR_OK, when its token is gone.
func (t *Token) findLabel(s *session, label string) ([]pkcs11.ObjectHandle, error) {
	found, err := findLabel(t.module, s, label)
	if err == nil && len(found) == 0 {
		_, err = t.module.GetTokenInfo(t.slot)
	}
	return found, err
}

func findLabel(m p11.Module, s *session, label string) ([]pkcs11.ObjectHandle, error) {
	return m.Find(s.handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)})
}

// Load finds the keys by label, compares every attribute, proves the keys by their key check values and by use, and
// makes them the ones that the Token works with. fault.Conflict names an object that is there twice or has a wrong
// attribute, and is returned too when the keys are not those that this Token had before (ErrOtherMaster).
// fault.Unavailable with ErrNotProvisioned when one is missing.
func (t *Token) Load(ctx context.Context) error {
	return t.do(ctx, "hsm.Load", t.load)
}

func (t *Token) load(s *session) error {
	const op = "hsm.Load"
	joining, err := t.findLabel(s, LabelJoin)
	if err != nil {
		return err
	}
	if len(joining) > 0 {
		return fault.Wrap(fault.Unavailable, op, "the token has a "+LabelJoin+": it has not finished joining, so its keys are not used; "+
			"join again", ErrNotProvisioned)
	}
	keys, err := t.gather(s)
	if err != nil {
		return err
	}
	if before := t.keys.Load(); before != nil {
		if label, differs := before.identity.differs(keys.identity, t.cfg.NodeLabel); differs {
			return fault.Wrap(fault.Conflict, op, "the token holds another "+label+" than before; put back the token that was "+
				"here, or restart to use this one", ErrOtherMaster)
		}
	}
	t.keys.Store(keys)
	return nil
}

// gather finds and proves every key of the table.
func (t *Token) gather(s *session) (*keySet, error) {
	keys, err := t.gatherShared(s)
	if err != nil {
		return nil, err
	}
	for i := range t.specs {
		if t.specs[i].label == t.cfg.NodeLabel {
			keys.node, keys.identity.node, err = t.findNode(s, &t.specs[i])
		}
	}
	return keys, err
}

// gatherShared finds and proves the keys that every node of a cluster has.
func (t *Token) gatherShared(s *session) (*keySet, error) {
	var keys keySet
	for i := range t.specs {
		if t.specs[i].label == t.cfg.NodeLabel {
			continue
		}
		h, err := t.find(s, &t.specs[i])
		if err != nil {
			return nil, err
		}
		switch t.specs[i].label {
		case LabelMaster:
			keys.master = h
		case LabelWrapPrivate:
			keys.wrapPrivate = h
		case LabelWrapSecret:
			keys.wrapSecret = h
		}
	}
	var err error
	keys.identity, err = t.prove(s, &keys)
	return &keys, err
}

// findNode finds and proves the node key.
func (t *Token) findNode(s *session, sp *spec) (crypto.Signer, *ecdsa.PublicKey, error) {
	if _, err := t.find(s, sp); err != nil {
		return nil, nil, err
	}
	signer, err := t.module.KeyPair([]byte(sp.label), []byte(sp.label))
	if err != nil {
		return nil, nil, err
	}
	pub, err := proveNode(signer)
	if err != nil {
		return nil, nil, fmt.Errorf("prove %s: %w", sp.label, err)
	}
	return signer, pub, nil
}

// find returns the handle of the key: of the private half when it is a pair.
func (t *Token) find(s *session, sp *spec) (pkcs11.ObjectHandle, error) {
	const op = "hsm.Load"
	found, err := t.findLabel(s, sp.label)
	if err != nil {
		return 0, err
	}
	want := map[uint]*object{sp.private.class: &sp.private}
	if sp.public != nil {
		want[sp.public.class] = sp.public
	}
	if len(found) == 0 {
		return 0, fault.Wrap(fault.Unavailable, op, "the token has no "+sp.label, ErrNotProvisioned)
	}
	if len(found) != len(want) {
		return 0, fault.New(fault.Conflict, op, fmt.Sprintf(
			"the token has %d objects labelled %s where %d belong; which one is right cannot be told, so none is used",
			len(found), sp.label, len(want)))
	}
	var handle pkcs11.ObjectHandle
	for _, h := range found {
		class, err := read(t.module, s, h, pkcs11.CKA_CLASS)
		if err != nil {
			return 0, err
		}
		for c, o := range want {
			if !equal(attribute{want: c}, class) {
				continue
			}
			if err := o.check(t.module, s, h, sp.label); err != nil {
				return 0, err
			}
			if c == sp.private.class {
				handle = h
			}
			delete(want, c)
			break
		}
	}
	if len(want) > 0 {
		return 0, fault.New(fault.Conflict, op, "an object labelled "+sp.label+" has the wrong CKA_CLASS")
	}
	return handle, nil
}

// prove uses every key but the node's once: it shows that the objects hold keys at all (a token on a full disk may keep empty ones),
// that the token keeps to the restrictions it reports, and which keys they are.
func (t *Token) prove(s *session, keys *keySet) (*identity, error) {
	var id identity
	var err error
	if id.master, err = t.hmacKCV(s, keys.master); err != nil {
		return nil, fmt.Errorf("prove %s: %w", LabelMaster, err)
	}
	if id.wrapPrivate, err = t.proveWrapping(s, keys.wrapPrivate, pkcs11.CKO_PRIVATE_KEY); err != nil {
		return nil, fmt.Errorf("prove %s: %w", LabelWrapPrivate, err)
	}
	if id.wrapSecret, err = t.proveWrapping(s, keys.wrapSecret, pkcs11.CKO_SECRET_KEY); err != nil {
		return nil, fmt.Errorf("prove %s: %w", LabelWrapSecret, err)
	}
	return &id, nil
}

// kcvBytes is the length of a key check value.
const kcvBytes = 8

// hmacKCV is the key check value of a key for HMAC.
func (t *Token) hmacKCV(s *session, key pkcs11.ObjectHandle) ([]byte, error) {
	mac, err := t.hmac(s, key, []byte("cryptoserve/kcv"))
	if err != nil {
		return nil, err
	}
	if len(mac) != sha256.Size {
		return nil, fmt.Errorf("HMAC-SHA256 by the token has %d bytes", len(mac))
	}
	return mac[:kcvBytes], nil
}

// hmac is C_SignInit and C_Sign with CKM_SHA256_HMAC.
func (t *Token) hmac(s *session, key pkcs11.ObjectHandle, message []byte) ([]byte, error) {
	return sign(t.module, s, pkcs11.NewMechanism(pkcs11.CKM_SHA256_HMAC, nil), key, message)
}

func sign(m p11.Module, s *session, mechanism *pkcs11.Mechanism, key pkcs11.ObjectHandle, data []byte) ([]byte, error) {
	if err := m.SignInit(s.handle, []*pkcs11.Mechanism{mechanism}, key); err != nil {
		return nil, err
	}
	return m.Sign(s.handle, data)
}

// keyWrapPad is CKM_AES_KEY_WRAP_PAD: AES key wrap with padding, RFC 5649, KWP of SP 800-38F section 6.3.
func keyWrapPad() []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP_PAD, nil)}
}

// proveWrapping wraps a known secret and returns the key check value: the first 8 bytes of SHA-256 of KWP(key, 32 zero
// bytes). The key may do nothing but wrap and unwrap, so an encryption or CMAC of zeros cannot be asked for. Then it
// unwraps with attributes that the key's unwrap template forbids, which the token must refuse: for a key of the class
// of private keys any secret key, for one of secret keys an extractable key, a readable one and one in the token.
func (t *Token) proveWrapping(s *session, key pkcs11.ObjectHandle, class uint) (kcv []byte, err error) {
	zeros, err := t.module.CreateObject(s.handle, knownSecret(make([]byte, keyBytes)))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.module.DestroyObject(s.handle, zeros)) }()
	wrapped, err := t.module.WrapKey(s.handle, keyWrapPad(), key, zeros)
	if err != nil {
		return nil, err
	}
	good := secretTemplate(false, true, false)
	if class == pkcs11.CKO_SECRET_KEY {
		if err := t.proveUnwrapped(s, key, wrapped, good); err != nil {
			return nil, err
		}
	} else if err := t.mustRefuse(s, key, keyWrapPad(), wrapped, "a key of another class", good); err != nil {
		return nil, err
	}
	for name, template := range map[string][]*pkcs11.Attribute{
		"an extractable key": secretTemplate(false, true, true),
		"a readable key":     secretTemplate(false, false, false),
		"a permanent key":    secretTemplate(true, true, false),
	} {
		if err := t.mustRefuse(s, key, keyWrapPad(), wrapped, name, template); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(wrapped)
	return sum[:kcvBytes], nil
}

// proveUnwrapped unwraps 32 zero bytes and compares an HMAC under them with one made here.
func (t *Token) proveUnwrapped(s *session, key pkcs11.ObjectHandle, wrapped []byte, template []*pkcs11.Attribute) (err error) {
	h, err := t.module.UnwrapKey(s.handle, keyWrapPad(), key, wrapped, template)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.module.DestroyObject(s.handle, h)) }()
	message := []byte("cryptoserve/kcv")
	got, err := t.hmac(s, h, message)
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, make([]byte, keyBytes))
	mac.Write(message)
	if !hmac.Equal(got, mac.Sum(nil)) {
		return errors.New("what was unwrapped is not what was wrapped")
	}
	return nil
}

// mustRefuse fails unless the token refuses the unwrap because of what was asked for.
func (t *Token) mustRefuse(s *session, key pkcs11.ObjectHandle, mechanism []*pkcs11.Mechanism, wrapped []byte, what string,
	template []*pkcs11.Attribute) error {
	h, err := t.module.UnwrapKey(s.handle, mechanism, key, wrapped, template)
	if err == nil {
		return errors.Join(fault.New(fault.Conflict, "hsm.Load", "the token does not keep to CKA_UNWRAP_TEMPLATE: it unwrapped "+what+
			"; this module cannot protect wrapped keys and is not used"), t.module.DestroyObject(s.handle, h))
	}
	if classOf(err) != classRequest {
		return err
	}
	return nil
}

// knownSecret is the template of a session object whose value is no secret.
func knownSecret(value []byte) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, value),
	}
}

// secretTemplate is the template of an unwrap to a secret key for HMAC.
func secretTemplate(token, sensitive, extractable bool) []*pkcs11.Attribute {
	return append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, token),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, sensitive),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, extractable),
	}, encode(usages(secretUsages, pkcs11.CKA_SIGN))...)
}

// proveNode signs and verifies, and returns the public key.
func proveNode(signer crypto.Signer) (*ecdsa.PublicKey, error) {
	pub, ok := signer.Public().(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, errors.New("it is not a P-256 key")
	}
	digest := sha256.Sum256([]byte("cryptoserve/kcv"))
	signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	if !ecdsa.VerifyASN1(pub, digest[:], signature) {
		return nil, errors.New("the halves of the pair do not belong together")
	}
	return pub, nil
}

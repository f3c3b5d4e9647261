package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

// LabelJoin is the label of the pair for which the keys of a cluster are wrapped. While a token has it, whatever keys of a
// cluster are there too were not received whole, and are not used.
const LabelJoin = "cs-join"

// joinSpec is that pair. Its public half does nothing in this token: it is read and sent away.
var joinSpec = spec{
	label:     LabelJoin,
	mechanism: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
	private: object{class: pkcs11.CKO_PRIVATE_KEY, unwrap: unwrapAsReceived(), attributes: slices.Concat([]attribute{
		{"CKA_KEY_TYPE", pkcs11.CKA_KEY_TYPE, uint(pkcs11.CKK_RSA)},
		{"CKA_TOKEN", pkcs11.CKA_TOKEN, true},
		{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true},
		{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true},
		{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, false},
		{"CKA_MODIFIABLE", pkcs11.CKA_MODIFIABLE, false},
		{"CKA_COPYABLE", pkcs11.CKA_COPYABLE, false},
		{"CKA_ALLOWED_MECHANISMS", pkcs11.CKA_ALLOWED_MECHANISMS, p11.Mechanisms(pkcs11.CKM_RSA_PKCS_OAEP)},
	}, usages(privateUsages, pkcs11.CKA_UNWRAP))},
	public: &object{class: pkcs11.CKO_PUBLIC_KEY, attributes: slices.Concat([]attribute{
		{"CKA_KEY_TYPE", pkcs11.CKA_KEY_TYPE, uint(pkcs11.CKK_RSA)},
		{"CKA_TOKEN", pkcs11.CKA_TOKEN, true},
		{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, false},
		{"CKA_MODIFIABLE", pkcs11.CKA_MODIFIABLE, false},
		{"CKA_COPYABLE", pkcs11.CKA_COPYABLE, false},
		{"CKA_MODULUS_BITS", pkcs11.CKA_MODULUS_BITS, uint(joinBits)},
		{"CKA_PUBLIC_EXPONENT", pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}},
	}, usages(publicUsages))},
}

const joinBits = 4096

// unwrapAsReceived is what cs-join gives every key that it unwraps: it stays in the token, and only a key that the security
// officer trusts gets it out again.
func unwrapAsReceived() []attribute {
	return []attribute{
		{"CKA_CLASS", pkcs11.CKA_CLASS, uint(pkcs11.CKO_SECRET_KEY)},
		{"CKA_TOKEN", pkcs11.CKA_TOKEN, true},
		{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true},
		{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true},
		{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, true},
		{"CKA_WRAP_WITH_TRUSTED", pkcs11.CKA_WRAP_WITH_TRUSTED, true},
	}
}

// JoinKeys are the public halves of the pairs that a token made in order to join a cluster, in the form of
// SubjectPublicKeyInfo, DER.
type JoinKeys struct {
	// Node is the P-256 key that the node will be known by.
	Node []byte
	// Join is the RSA-4096 key for TransferKeys. Whoever approves the node compares SHA-256 of it.
	Join []byte
	// OAEPHash is the strongest hash that the token unwraps with: SHA-256, or SHA-1 where it has nothing better.
	OAEPHash algs.Name
}

// PrepareJoin makes ready a token that is to receive the keys of a cluster: it makes the node key, unless there is one, and the
// pair cs-join, instead of one of an earlier try. What an earlier ReceiveKeys left half done is deleted.
//
// fault.Conflict when the token already holds keys of a cluster. When it fails, what it made is deleted; it may be repeated.
func (t *Token) PrepareJoin(ctx context.Context) (JoinKeys, error) {
	const op = "hsm.PrepareJoin"
	var keys JoinKeys
	err := t.alone(ctx, op, func(all []*session) (err error) {
		if err := t.offered(op, importPair); err != nil {
			return err
		}
		keys, err = t.prepareJoin(op, all)
		return err
	})
	if err != nil {
		return JoinKeys{}, err
	}
	return keys, nil
}

func (t *Token) prepareJoin(op string, all []*session) (keys JoinKeys, err error) {
	s := all[0]
	if err := t.clearJoin(op, s); err != nil {
		return keys, err
	}
	made := []string{LabelJoin}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.deleteLabels(op, s, made...))
		}
	}()
	node := t.nodeSpec()
	found, err := t.findLabel(s, node.label)
	if err != nil {
		return keys, err
	}
	if len(found) == 0 {
		made = append(made, node.label) // nobody has seen it yet
		if _, err := t.generate(s, node); err != nil {
			return keys, fmt.Errorf("make %s: %w", node.label, err)
		}
	}
	if _, err := t.generate(s, &joinSpec); err != nil {
		return keys, fmt.Errorf("make %s: %w", LabelJoin, err)
	}
	// As in Provision: what comes next shall come from where the token keeps it.
	if err := t.reconnect(all); err != nil {
		return keys, err
	}
	return t.proveJoin(s)
}

// proveJoin finds both pairs, uses them once and returns their public halves.
func (t *Token) proveJoin(s *session) (keys JoinKeys, err error) {
	_, node, err := t.findNode(s, t.nodeSpec())
	if err != nil {
		return keys, err
	}
	h, err := t.find(s, &joinSpec)
	if err != nil {
		return keys, err
	}
	pub, err := t.readRSA(s, importPair, h)
	if err != nil {
		return keys, err
	}
	if keys.OAEPHash, err = t.tryJoin(s, h, pub); err != nil {
		return keys, fmt.Errorf("prove %s: %w", LabelJoin, err)
	}
	return keys, marshalKeys(&keys, node, pub)
}

func marshalKeys(keys *JoinKeys, node *ecdsa.PublicKey, join *rsa.PublicKey) (err error) {
	if keys.Node, err = x509.MarshalPKIXPublicKey(node); err != nil {
		return err
	}
	keys.Join, err = x509.MarshalPKIXPublicKey(join)
	return err
}

// tryJoin unwraps a key made here with each hash in turn, and returns the first with which the token does. Then it shows that
// the token keeps to the unwrap template. The key is of no use to anybody; it bears the label of the pair, so that it goes with
// the pair if this is cut off.
func (t *Token) tryJoin(s *session, pair pkcs11.ObjectHandle, pub *rsa.PublicKey) (hash algs.Name, err error) {
	for _, o := range importOAEP {
		key := make([]byte, keyBytes)
		_, _ = rand.Read(key) // never fails
		wrapped, err := o.encrypt(pub, key, nil)
		if err != nil {
			return "", err
		}
		h, err := t.module.UnwrapKey(s.handle, o.mechanism(nil), pair, wrapped, trialTemplate(0))
		switch {
		case classOf(err) == classRequest:
			continue
		case err != nil:
			return "", err
		}
		if err := t.module.DestroyObject(s.handle, h); err != nil {
			return "", err
		}
		for what, wrong := range map[string]uint{
			"a key of the session":           pkcs11.CKA_TOKEN,
			"a public key":                   pkcs11.CKA_PRIVATE,
			"a readable key":                 pkcs11.CKA_SENSITIVE,
			"a key for any key to wrap":      pkcs11.CKA_WRAP_WITH_TRUSTED,
			"a key that cannot be had again": pkcs11.CKA_EXTRACTABLE,
		} {
			if err := t.mustRefuse(s, pair, o.mechanism(nil), wrapped, what, trialTemplate(wrong)); err != nil {
				return "", err
			}
		}
		return o.name, nil
	}
	return "", fault.New(fault.AlgorithmDisallowed, "hsm.PrepareJoin",
		"the token unwraps by RSA-OAEP neither with SHA-256 nor with SHA-1; use one of the modes shared and preloaded")
}

// trialTemplate is what the unwrap template of cs-join asks for, with one attribute turned around.
func trialTemplate(wrong uint) []*pkcs11.Attribute {
	rows := unwrapAsReceived()
	for i := range rows {
		if value, ok := rows[i].want.(bool); ok && rows[i].typ == wrong {
			rows[i].want = !value
		}
	}
	return append(encode(rows), append(encode(usages(secretUsages)),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, LabelJoin),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET))...)
}

// SignAsNode signs a SHA-256 digest with the node key, before the keys of a cluster are loaded too. The signature is ASN.1 DER.
// fault.Unavailable with ErrNotProvisioned when there is no node key.
func (t *Token) SignAsNode(ctx context.Context, digest [sha256.Size]byte) (signature []byte, err error) {
	const op = "hsm.SignAsNode"
	err = t.do(ctx, op, func(s *session) error {
		signer, public, err := t.findNode(s, t.nodeSpec())
		if err != nil {
			return err
		}
		if signature, err = signer.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
			return err
		}
		return checkSignature(public, digest[:], signature)
	})
	return signature, err
}

// nodeSpec is the row of this node's key.
func (t *Token) nodeSpec() *spec {
	for i := range t.specs {
		if t.specs[i].label == t.cfg.NodeLabel {
			return &t.specs[i]
		}
	}
	panic("the table of keys has no node key")
}

// shared are the labels of the keys that every node of a cluster has.
func shared() []string { return []string{LabelMaster, LabelWrapPrivate, LabelWrapSecret} }

// clearJoin deletes what an earlier try left: first the keys that were received, then the pair that shows that they were not
// received whole. Without that pair a token with keys of a cluster is left alone.
func (t *Token) clearJoin(op string, s *session) error {
	present, _, joining, err := t.inventory(s)
	if err != nil {
		return err
	}
	if joining {
		if err := t.deleteReceived(op, s); err != nil {
			return err
		}
		return t.deleteLabels(op, s, LabelJoin)
	}
	present = slices.DeleteFunc(present, func(label string) bool { return label == t.cfg.NodeLabel })
	if len(present) > 0 {
		return fault.New(fault.Conflict, op, "the token already has "+strings.Join(present, ", ")+
			": it belongs to a cluster. To join another one use an empty token; if this one shares its keys with the cluster, join in "+
			"the mode shared or preloaded")
	}
	return nil
}

// deleteReceived deletes the keys of a cluster that this token received and has not begun to use. A key that was made in the
// token is not one of them, whatever else is there.
func (t *Token) deleteReceived(op string, s *session) error {
	for _, label := range shared() {
		found, err := t.findLabel(s, label)
		if err != nil {
			return err
		}
		for _, h := range found {
			local, err := read(t.module, s, h, pkcs11.CKA_LOCAL)
			if err != nil {
				return err
			}
			if !equal(attribute{want: false}, local) {
				return fault.New(fault.Conflict, op, "the token has a "+LabelJoin+" beside a "+label+" that was made in it; nothing was "+
					"deleted. If this node belongs to a cluster, delete "+LabelJoin+" with the vendor's tool")
			}
		}
	}
	return t.deleteLabels(op, s, shared()...)
}

// deleteLabels deletes every object with one of the labels, and looks whether they are gone.
func (t *Token) deleteLabels(op string, s *session, labels ...string) error {
	for _, label := range labels {
		if err := t.deleteLabel(s, label); err != nil {
			return leftWith(op, label, err)
		}
	}
	return nil
}

func (t *Token) deleteLabel(s *session, label string) error {
	if !t.attached {
		return pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
	}
	found, err := t.findLabel(s, label)
	if err != nil {
		return err
	}
	for _, h := range found {
		if err := t.module.DestroyObject(s.handle, h); err != nil {
			return err
		}
	}
	if len(found) == 0 {
		return nil
	}
	if found, err = t.findLabel(s, label); err == nil && len(found) > 0 {
		err = errors.New("the token says that it was deleted, and still has it")
	}
	return err
}

// leftWith tells that an object could not be deleted.
func leftWith(op, label string, cause error) error {
	_, row, ok := lookUp(cause)
	if !ok {
		row.kind = fault.Of(cause)
	}
	return fault.Wrap(row.kind, op, "the token may be left with "+label+"; it is not used, and the next try deletes it", cause)
}

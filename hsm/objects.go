package hsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

// Labels of the objects in a token. The number is the generation of the key.
const (
	LabelMaster      = "cs-master-1"
	LabelWrapPrivate = "cs-wrap-private-1"
	LabelWrapSecret  = "cs-wrap-secret-1" // #nosec G101 -- a label, no secret
	LabelNode        = "cs-node"
)

// Labels returns the label of every object of an appliance's token, in the order in which they are made.
func Labels() []string { return labels(specs) }

func labels(specs []spec) []string {
	out := make([]string, len(specs))
	for i, s := range specs {
		out[i] = s.label
	}
	return out
}

// attribute is a row of an object's template: it is set when the object is made, and compared when it is found. want is
// a bool, uint or []byte.
type attribute struct {
	name string
	typ  uint
	want any
}

// object is a key, or one half of a pair.
type object struct {
	class      uint
	attributes []attribute
	unwrap     []attribute // CKA_UNWRAP_TEMPLATE; none if empty
}

// spec is a key in the token. A pair has a public half; a secret key has none.
type spec struct {
	label     string
	mechanism uint // that generates it
	private   object
	public    *object
}

// specs is the table of keys. Each usage is set in every object, because modules differ in their defaults: SoftHSM2
// takes SIGN, ENCRYPT, WRAP and UNWRAP as true and SENSITIVE as false.
var specs = []spec{
	{
		label:     LabelMaster,
		mechanism: pkcs11.CKM_GENERIC_SECRET_KEY_GEN,
		private:   secretKey(pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_SHA256_HMAC, nil, pkcs11.CKA_SIGN),
	},
	{
		label:     LabelWrapPrivate,
		mechanism: pkcs11.CKM_AES_KEY_GEN,
		private: secretKey(pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_WRAP_PAD, unwrapAs(pkcs11.CKO_PRIVATE_KEY),
			pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP),
	},
	{
		label:     LabelWrapSecret,
		mechanism: pkcs11.CKM_AES_KEY_GEN,
		private: secretKey(pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_WRAP_PAD, unwrapAs(pkcs11.CKO_SECRET_KEY),
			pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP),
	},
	{
		label:     LabelNode,
		mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN,
		private: object{class: pkcs11.CKO_PRIVATE_KEY, attributes: slices.Concat([]attribute{
			{"CKA_KEY_TYPE", pkcs11.CKA_KEY_TYPE, uint(pkcs11.CKK_EC)},
			{"CKA_TOKEN", pkcs11.CKA_TOKEN, true},
			{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true},
			{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true},
			{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, false},
			{"CKA_MODIFIABLE", pkcs11.CKA_MODIFIABLE, false},
			{"CKA_COPYABLE", pkcs11.CKA_COPYABLE, false},
			{"CKA_ALLOWED_MECHANISMS", pkcs11.CKA_ALLOWED_MECHANISMS, p11.Mechanisms(pkcs11.CKM_ECDSA)},
		}, usages(privateUsages, pkcs11.CKA_SIGN))},
		public: &object{class: pkcs11.CKO_PUBLIC_KEY, attributes: slices.Concat([]attribute{
			{"CKA_KEY_TYPE", pkcs11.CKA_KEY_TYPE, uint(pkcs11.CKK_EC)},
			{"CKA_TOKEN", pkcs11.CKA_TOKEN, true},
			{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, false},
			{"CKA_MODIFIABLE", pkcs11.CKA_MODIFIABLE, false},
			{"CKA_COPYABLE", pkcs11.CKA_COPYABLE, false},
			{"CKA_EC_PARAMS", pkcs11.CKA_EC_PARAMS, oidP256},
		}, usages(publicUsages, pkcs11.CKA_VERIFY))},
	},
}

// keyBytes is the length of every secret key in the token.
const keyBytes = 32

func secretKey(keyType, mechanism uint, unwrap []attribute, allowed ...uint) object {
	return object{class: pkcs11.CKO_SECRET_KEY, unwrap: unwrap, attributes: slices.Concat([]attribute{
		{"CKA_KEY_TYPE", pkcs11.CKA_KEY_TYPE, keyType},
		{"CKA_VALUE_LEN", pkcs11.CKA_VALUE_LEN, uint(keyBytes)},
		{"CKA_TOKEN", pkcs11.CKA_TOKEN, true},
		{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true},
		{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true},
		{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, true},
		{"CKA_WRAP_WITH_TRUSTED", pkcs11.CKA_WRAP_WITH_TRUSTED, true},
		{"CKA_MODIFIABLE", pkcs11.CKA_MODIFIABLE, false},
		{"CKA_COPYABLE", pkcs11.CKA_COPYABLE, false},
		{"CKA_ALLOWED_MECHANISMS", pkcs11.CKA_ALLOWED_MECHANISMS, p11.Mechanisms(mechanism)},
	}, usages(secretUsages, allowed...))}
}

// unwrapAs is what a wrapping key gives every key that it unwraps: it stays in its session and cannot be had out again.
func unwrapAs(class uint) []attribute {
	return []attribute{
		{"CKA_CLASS", pkcs11.CKA_CLASS, class},
		{"CKA_TOKEN", pkcs11.CKA_TOKEN, false},
		{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true},
		{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, false},
	}
}

// The usages that an object of each class has (PKCS#11 v2.40 sections 4.8 to 4.10).
var (
	secretUsages = []attribute{
		{name: "CKA_ENCRYPT", typ: pkcs11.CKA_ENCRYPT}, {name: "CKA_DECRYPT", typ: pkcs11.CKA_DECRYPT},
		{name: "CKA_SIGN", typ: pkcs11.CKA_SIGN}, {name: "CKA_VERIFY", typ: pkcs11.CKA_VERIFY},
		{name: "CKA_WRAP", typ: pkcs11.CKA_WRAP}, {name: "CKA_UNWRAP", typ: pkcs11.CKA_UNWRAP},
		{name: "CKA_DERIVE", typ: pkcs11.CKA_DERIVE},
	}
	privateUsages = []attribute{
		{name: "CKA_DECRYPT", typ: pkcs11.CKA_DECRYPT}, {name: "CKA_SIGN", typ: pkcs11.CKA_SIGN},
		{name: "CKA_SIGN_RECOVER", typ: pkcs11.CKA_SIGN_RECOVER}, {name: "CKA_UNWRAP", typ: pkcs11.CKA_UNWRAP},
		{name: "CKA_DERIVE", typ: pkcs11.CKA_DERIVE},
	}
	publicUsages = []attribute{
		{name: "CKA_ENCRYPT", typ: pkcs11.CKA_ENCRYPT}, {name: "CKA_VERIFY", typ: pkcs11.CKA_VERIFY},
		{name: "CKA_VERIFY_RECOVER", typ: pkcs11.CKA_VERIFY_RECOVER}, {name: "CKA_WRAP", typ: pkcs11.CKA_WRAP},
	}
)

// usages returns all usages of a class: the allowed ones true, all others false.
func usages(all []attribute, allowed ...uint) []attribute {
	out := make([]attribute, len(all))
	for i, a := range all {
		a.want = slices.Contains(allowed, a.typ)
		out[i] = a
	}
	return out
}

// template returns the attributes that make the object, and a function that frees its nested template after the call.
func (o *object) template(label string) (attributes []*pkcs11.Attribute, free func(), err error) {
	attributes = append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, o.class),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, label),
	}, encode(o.attributes)...)
	if len(o.unwrap) == 0 {
		return attributes, func() {}, nil
	}
	nested, free, err := p11.Nested(pkcs11.CKA_UNWRAP_TEMPLATE, encode(o.unwrap))
	if err != nil {
		return nil, nil, err
	}
	return append(attributes, nested), free, nil
}

func encode(rows []attribute) []*pkcs11.Attribute {
	out := make([]*pkcs11.Attribute, len(rows), len(rows)+4)
	for i, a := range rows {
		out[i] = pkcs11.NewAttribute(a.typ, a.want)
	}
	return out
}

// check reads every attribute back and refuses the object when one differs. The values inside a nested template cannot
// be read; proveWrapping shows their effect.
func (o *object) check(m p11.Module, s *session, h pkcs11.ObjectHandle, label string) error {
	rows := append(slices.Clone(o.attributes),
		attribute{"CKA_CLASS", pkcs11.CKA_CLASS, o.class},
		attribute{"CKA_ID", pkcs11.CKA_ID, []byte(label)})
	for _, a := range rows {
		got, err := read(m, s, h, a.typ)
		if err == nil && !equal(a, got) {
			if a.typ == pkcs11.CKA_VALUE_LEN && equal(attribute{want: uint(0)}, got) && unwrapped(m, s, h) {
				continue
			}
			err = errors.New("it has another value")
		}
		if err := refuseAttribute(label, a.name, err); err != nil {
			return err
		}
	}
	if len(o.unwrap) == 0 {
		return nil
	}
	got, err := read(m, s, h, pkcs11.CKA_UNWRAP_TEMPLATE)
	if err == nil {
		err = sameShape(o.unwrap, got)
	}
	return refuseAttribute(label, "CKA_UNWRAP_TEMPLATE", err)
}

// unwrapped tells whether the token says that it did not make the key. SoftHSM2 gives CKA_VALUE_LEN of such a key as zero and
// refuses the attribute in C_UnwrapKey; that it is the right key was shown by its check value when it was received.
func unwrapped(m p11.Module, s *session, h pkcs11.ObjectHandle) bool {
	local, err := read(m, s, h, pkcs11.CKA_LOCAL)
	return err == nil && equal(attribute{want: false}, local)
}

// refuseAttribute names the attribute, unless the token failed rather than the attribute.
func refuseAttribute(label, name string, err error) error {
	switch classOf(err) {
	case classNone, classRequest:
	default:
		return err
	}
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Conflict, "hsm.check", "the object "+label+" in the token has a wrong "+name+
		": it was not made by this program, or was changed, and is not used", err)
}

func read(m p11.Module, s *session, h pkcs11.ObjectHandle, typ uint) ([]byte, error) {
	got, err := m.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(typ, nil)})
	if err != nil {
		return nil, err
	}
	if len(got) != 1 {
		return nil, errors.New("the token returned no value")
	}
	return got[0].Value, nil
}

// equal compares by meaning: any byte but zero is CK_TRUE, and a CK_ULONG has 8 bytes in native order.
func equal(a attribute, got []byte) bool {
	switch want := a.want.(type) {
	case bool:
		return len(got) == 1 && (got[0] != 0) == want
	case uint:
		return len(got) == 8 && uint(binary.NativeEndian.Uint64(got)) == want
	case []byte:
		return bytes.Equal(got, want)
	default:
		return false
	}
}

// sameShape compares types and lengths of a nested template, in any order.
func sameShape(want []attribute, got []byte) error {
	rows, err := p11.Shape(got)
	if err != nil {
		return err
	}
	if len(rows) != len(want) {
		return fmt.Errorf("it has %d attributes, not %d", len(rows), len(want))
	}
	for _, a := range encode(want) {
		if !slices.Contains(rows, p11.NestedShape{Type: a.Type, Length: uint(len(a.Value))}) {
			return fmt.Errorf("it lacks attribute 0x%X", a.Type)
		}
	}
	return nil
}

package hsmtest

import (
	"bytes"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/hsm"
	"cryptoserve/hsm/internal/p11"
)

// wantTrue lists the attributes of each key that must be CK_TRUE. All others of boolAttributes must be CK_FALSE, or not
// be there at all for the class. It repeats the design's table on purpose, and shares nothing with package hsm.
var wantTrue = map[string][]uint{
	hsm.LabelMaster: {pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE,
		pkcs11.CKA_WRAP_WITH_TRUSTED, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_LOCAL, pkcs11.CKA_SIGN},
	hsm.LabelWrapPrivate: {pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE,
		pkcs11.CKA_WRAP_WITH_TRUSTED, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_LOCAL, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP},
	hsm.LabelWrapSecret: {pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE,
		pkcs11.CKA_WRAP_WITH_TRUSTED, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_LOCAL, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP},
	hsm.LabelNode: {pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_ALWAYS_SENSITIVE,
		pkcs11.CKA_NEVER_EXTRACTABLE, pkcs11.CKA_LOCAL, pkcs11.CKA_SIGN},
}

var boolAttributes = map[uint]string{
	pkcs11.CKA_TOKEN: "CKA_TOKEN", pkcs11.CKA_PRIVATE: "CKA_PRIVATE", pkcs11.CKA_SENSITIVE: "CKA_SENSITIVE",
	pkcs11.CKA_EXTRACTABLE: "CKA_EXTRACTABLE", pkcs11.CKA_WRAP_WITH_TRUSTED: "CKA_WRAP_WITH_TRUSTED",
	pkcs11.CKA_ALWAYS_SENSITIVE: "CKA_ALWAYS_SENSITIVE", pkcs11.CKA_NEVER_EXTRACTABLE: "CKA_NEVER_EXTRACTABLE",
	pkcs11.CKA_LOCAL: "CKA_LOCAL", pkcs11.CKA_MODIFIABLE: "CKA_MODIFIABLE", pkcs11.CKA_COPYABLE: "CKA_COPYABLE",
	pkcs11.CKA_TRUSTED: "CKA_TRUSTED", pkcs11.CKA_ENCRYPT: "CKA_ENCRYPT", pkcs11.CKA_DECRYPT: "CKA_DECRYPT",
	pkcs11.CKA_SIGN: "CKA_SIGN", pkcs11.CKA_SIGN_RECOVER: "CKA_SIGN_RECOVER", pkcs11.CKA_VERIFY: "CKA_VERIFY",
	pkcs11.CKA_WRAP: "CKA_WRAP", pkcs11.CKA_UNWRAP: "CKA_UNWRAP", pkcs11.CKA_DERIVE: "CKA_DERIVE",
}

var wantMechanism = map[string]uint{
	hsm.LabelMaster: pkcs11.CKM_SHA256_HMAC, hsm.LabelWrapPrivate: pkcs11.CKM_AES_KEY_WRAP_PAD,
	hsm.LabelWrapSecret: pkcs11.CKM_AES_KEY_WRAP_PAD, hsm.LabelNode: pkcs11.CKM_ECDSA,
}

// attributes reads what Provision made.
func attributes(t *testing.T, r *raw) {
	for _, label := range hsm.Labels() {
		h := r.key(label)
		for typ, name := range boolAttributes {
			want := false
			for _, w := range wantTrue[label] {
				want = want || w == typ
			}
			got, err := r.value(h, typ)
			if err != nil && !want {
				continue // the class has no such attribute
			}
			if err != nil || len(got) != 1 || (got[0] != 0) != want {
				t.Errorf("%s: %s is %x, want %v: %v", label, name, got, want, err)
			}
		}
		got, err := r.value(h, pkcs11.CKA_ALLOWED_MECHANISMS)
		if err != nil || !bytes.Equal(got, p11.Mechanisms(wantMechanism[label])) {
			t.Errorf("%s: CKA_ALLOWED_MECHANISMS is %x: %v", label, got, err)
		}
	}
}

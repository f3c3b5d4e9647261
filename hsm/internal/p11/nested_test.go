package p11

import (
	"slices"
	"testing"

	"github.com/miekg/pkcs11"
)

func TestNestedKeepsTypesAndLengths(t *testing.T) {
	cases := []struct {
		name string
		rows []*pkcs11.Attribute
		want []NestedShape
	}{
		{"none", nil, nil},
		{"bool and number", []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY)},
			[]NestedShape{{pkcs11.CKA_TOKEN, 1}, {pkcs11.CKA_CLASS, 8}}},
		{"empty value", []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, "")}, []NestedShape{{pkcs11.CKA_LABEL, 0}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, free, err := Nested(pkcs11.CKA_UNWRAP_TEMPLATE, c.rows)
			if err != nil {
				t.Fatal(err)
			}
			defer free()
			got, err := Shape(a.Value)
			if err != nil {
				t.Fatal(err)
			}
			if a.Type != pkcs11.CKA_UNWRAP_TEMPLATE || !slices.Equal(got, c.want) {
				t.Errorf("type %x, rows %v, want %v", a.Type, got, c.want)
			}
		})
	}
}

func TestShapeRefusesHalfARow(t *testing.T) {
	if _, err := Shape(make([]byte, attributeSize+8)); err == nil {
		t.Error("32 bytes were taken as an array of CK_ATTRIBUTE")
	}
}

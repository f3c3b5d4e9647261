package p11

/*
#include <stdlib.h>
#include <string.h>

// CK_ATTRIBUTE of PKCS#11 v2.40 section 3.5, as every Unix module lays it out.
typedef struct {
	unsigned long type;
	void *value;
	unsigned long length;
} cs_attribute;

_Static_assert(sizeof(unsigned long) == 8, "CK_ULONG is taken to have 8 bytes");

static cs_attribute *cs_attributes(size_t n) { return calloc(n, sizeof(cs_attribute)); }

static int cs_set(cs_attribute *a, size_t i, unsigned long type, void *value, unsigned long length) {
	a[i].value = malloc(length ? length : 1);
	if (a[i].value == NULL) return 0;
	memcpy(a[i].value, value, length);
	a[i].type = type;
	a[i].length = length;
	return 1;
}

static void cs_free(cs_attribute *a, size_t n) {
	for (size_t i = 0; i < n; i++) free(a[i].value);
	free(a);
}
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// attributeSize is the size of CK_ATTRIBUTE in bytes: type, pointer and length, 8 each.
const attributeSize = 24

// Nested returns an attribute of a type with CKF_ARRAY_ATTRIBUTE (PKCS#11 v2.40 section 4.9.1, for instance
// CKA_UNWRAP_TEMPLATE) whose value is the template, and a function that frees it. Call free once the call that was given
// the attribute has returned.
//
// miekg/pkcs11 copies the bytes of an attribute's value to C memory and no further. Here these bytes are a CK_ATTRIBUTE
// array whose pointers already lead to C memory, so no Go pointer is handed over and the garbage collector has no part in it.
func Nested(typ uint, template []*pkcs11.Attribute) (attribute *pkcs11.Attribute, free func(), err error) {
	n := C.size_t(len(template))
	array := C.cs_attributes(n)
	if array == nil {
		return nil, nil, pkcs11.Error(pkcs11.CKR_HOST_MEMORY)
	}
	for i, a := range template {
		// A pointer to the first byte; for an empty value memcpy copies nothing from a valid address.
		value := a.Value
		if len(value) == 0 {
			value = []byte{0}
		}
		if C.cs_set(array, C.size_t(i), C.ulong(a.Type), unsafe.Pointer(&value[0]), C.ulong(len(a.Value))) == 0 {
			C.cs_free(array, n)
			return nil, nil, pkcs11.Error(pkcs11.CKR_HOST_MEMORY)
		}
	}
	b := C.GoBytes(unsafe.Pointer(array), C.int(len(template)*attributeSize))
	return &pkcs11.Attribute{Type: typ, Value: b}, func() { C.cs_free(array, n) }, nil
}

// NestedShape is one row of a nested template as a token reports it: the type of the attribute and the length of its
// value in bytes. The values themselves cannot be asked for through miekg/pkcs11, which passes no buffers for them.
type NestedShape struct {
	Type   uint
	Length uint
}

// Shape reads the value of a nested template that C_GetAttributeValue returned.
func Shape(value []byte) ([]NestedShape, error) {
	if len(value)%attributeSize != 0 {
		return nil, fmt.Errorf("a nested template of %d bytes is not an array of CK_ATTRIBUTE", len(value))
	}
	var rows []NestedShape
	for ; len(value) > 0; value = value[attributeSize:] {
		rows = append(rows, NestedShape{
			Type:   uint(binary.NativeEndian.Uint64(value)),
			Length: uint(binary.NativeEndian.Uint64(value[16:])),
		})
	}
	return rows, nil
}

// Mechanisms returns the value of CKA_ALLOWED_MECHANISMS: an array of CK_MECHANISM_TYPE, 8 bytes each in native order.
func Mechanisms(types ...uint) []byte {
	b := make([]byte, 0, 8*len(types))
	for _, t := range types {
		b = binary.NativeEndian.AppendUint64(b, uint64(t))
	}
	return b
}

func cString(s string) unsafe.Pointer { return unsafe.Pointer(C.CString(s)) }

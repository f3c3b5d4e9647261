package hsm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
)

// Every code that PKCS#11 v2.40 names has a row, and the row has the name.
func TestEveryCKRHasARow(t *testing.T) {
	rows := 0
	for code := pkcs11.Error(1); code < 0x1000; code++ {
		_, name, named := strings.Cut(code.Error(), "CKR_")
		row, ok := ckrs[code]
		if ok {
			rows++
		}
		if named && (!ok || row.name != "CKR_"+name) {
			t.Errorf("code 0x%X is CKR_%s, its row says %q", uint(code), name, row.name)
		}
	}
	if rows != len(ckrs) {
		t.Errorf("%d of %d rows are for codes below 0x1000", rows, len(ckrs))
	}
}

func TestEveryCKRBecomesAFault(t *testing.T) {
	for code, row := range ckrs {
		t.Run(row.name, func(t *testing.T) {
			if !strings.HasPrefix(row.name, "CKR_") || row.class == classNone || row.kind == fault.Unknown {
				t.Fatalf("incomplete row %+v", row)
			}
			// Whatever is about the token rather than the call is worth another try.
			if row.class != classRequest && row.kind != fault.HSMUnavailable {
				t.Errorf("class %d has kind %v", row.class, row.kind)
			}
			err := describe("op", fmt.Errorf("wrapped: %w", code))
			if fault.Of(err) != row.kind || !errors.Is(err, code) || !strings.Contains(err.Error(), row.name) {
				t.Errorf("described as %v", err)
			}
			var f *fault.Error
			if !errors.As(err, &f) || f.Detail == "" || strings.Contains(f.Detail, "CKR_") {
				t.Errorf("the caller reads %q", f.Detail)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	plain := errors.New("plain")
	known := fault.New(fault.Conflict, "op", "detail")
	if describe("op", nil) != nil {
		t.Error("no error became one")
	}
	var same *fault.Error
	if !errors.As(describe("op", known), &same) || same != known {
		t.Error("a fault was wrapped again")
	}
	if err := describe("op", plain); fault.Of(err) != fault.Internal || !errors.Is(err, plain) {
		t.Errorf("an error without a code: %v", err)
	}
	vendor := pkcs11.Error(pkcs11.CKR_VENDOR_DEFINED | 0x42)
	if err := describe("op", vendor); fault.Of(err) != fault.HSMUnavailable || !strings.Contains(err.Error(), "0x80000042") {
		t.Errorf("a vendor's code: %v", err)
	}
	if classOf(vendor) != classUnspecific || classOf(plain) != classNone || classOf(nil) != classNone {
		t.Error("wrong class")
	}
}

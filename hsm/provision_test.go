package hsm

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

func TestProvisionRefusesExistingLabels(t *testing.T) {
	r := newToken(t)
	kcv := r.MasterKCV()
	err := r.Provision(t.Context())
	if !errors.Is(err, fault.Conflict) {
		t.Fatalf("got %v", err)
	}
	for _, label := range Labels() {
		if !strings.Contains(err.Error(), label) {
			t.Errorf("the error does not name %s: %v", label, err)
		}
	}
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if string(kcv) != string(r.MasterKCV()) {
		t.Error("the master key changed")
	}
}

func TestIncompleteTokenIsNamed(t *testing.T) {
	r := newToken(t)
	destroyLabel(t, r, LabelWrapSecret)
	_, err := r.Provisioned(t.Context())
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "lacks "+LabelWrapSecret+" ") {
		t.Errorf("Provisioned: %v", err)
	}
	if err := r.Load(t.Context()); !errors.Is(err, ErrNotProvisioned) || !strings.Contains(err.Error(), LabelWrapSecret) {
		t.Errorf("Load: %v", err)
	}
	if err := r.Provision(t.Context()); !errors.Is(err, fault.Conflict) {
		t.Errorf("Provision beside what is left: %v", err)
	}
}

func TestProvisionFailsHalfWay(t *testing.T) {
	full := pkcs11.Error(pkcs11.CKR_DEVICE_MEMORY)
	cases := []struct {
		name  string
		call  string
		fault p11.Fault
	}{
		{"the first key", "C_GenerateKey", p11.Fault{Err: full, Times: 1}},
		{"the third key", "C_GenerateKey", p11.Fault{Err: full, After: 2, Times: 1}},
		{"the pair", "C_GenerateKeyPair", p11.Fault{Err: full, Times: 1}},
		{"reading back", "C_GetAttributeValue", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID), After: 30, Times: 1}},
		{"the proof", "C_WrapKey", p11.Fault{Err: full, Times: 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t).open(t)
			r.faults.Set(c.call, c.fault)
			if err := r.Provision(t.Context()); err == nil {
				t.Fatal("no error")
			}
			if r.MasterKCV() != nil {
				t.Error("keys are loaded")
			}
			if ok, err := r.Provisioned(t.Context()); ok || err != nil {
				t.Fatalf("objects are left: %v, %v", ok, err)
			}
			if err := r.Provision(t.Context()); err != nil {
				t.Fatalf("the next try: %v", err)
			}
			r.mustExpand(t)
		})
	}
}

func TestProvisionSaysWhatIsLeft(t *testing.T) {
	r := newRig(t).open(t)
	r.faults.Set("C_GenerateKeyPair", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED)})
	r.faults.Set("C_DestroyObject", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED)})
	err := r.Provision(t.Context())
	if !errors.Is(err, fault.HSMUnavailable) || !strings.Contains(err.Error(), "delete them") ||
		!strings.Contains(err.Error(), LabelMaster) {
		t.Errorf("got %v", err)
	}
	if _, down := r.DownSince(); !down {
		t.Error("a removed token does not count as down")
	}
}

// SoftHSM2 on a full disk answers CKR_OK and leaves an empty file. The object in its memory works until the next start.
func TestProvisionFindsEmptyObjectFiles(t *testing.T) {
	for which := range 5 { // each of the five objects
		r := newRig(t).open(t)
		r.faults.Set("C_Finalize", p11.Fault{Times: 1, Hook: func() {
			objects, _ := tokenFiles(t, r)
			if len(objects) != 5 {
				t.Fatalf("%d object files", len(objects))
			}
			if err := os.Truncate(objects[which], 0); err != nil {
				t.Fatal(err)
			}
		}})
		err := r.Provision(t.Context())
		if err == nil || !strings.Contains(err.Error(), "delete them") {
			t.Errorf("object %d: got %v", which, err)
		}
		if r.MasterKCV() != nil {
			t.Errorf("object %d: keys are loaded", which)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoadRefusesTwoObjectsOfOneLabel(t *testing.T) {
	r := newToken(t)
	withSession(t, r, func(s *session) {
		if _, err := r.generate(s, &specs[0]); err != nil {
			t.Fatal(err)
		}
	})
	if err := r.Load(t.Context()); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "2 objects labelled "+LabelMaster) {
		t.Errorf("got %v", err)
	}
}

// Each attribute of each object in turn is made wrong, and Load has to name it.
func TestLoadNamesTheWrongAttribute(t *testing.T) {
	r := newRig(t).open(t)
	if err := r.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range specs {
		sp := &specs[i]
		for _, a := range sp.private.attributes {
			wrong, ok := a.want.(bool)
			if !ok || a.name == "CKA_TOKEN" || a.name == "CKA_WRAP_WITH_TRUSTED" && !wrong {
				continue
			}
			t.Run(sp.label+" "+a.name, func(t *testing.T) {
				altered := *sp
				altered.private.attributes = append([]attribute(nil), sp.private.attributes...)
				for j := range altered.private.attributes {
					if altered.private.attributes[j].typ == a.typ {
						altered.private.attributes[j].want = !wrong
					}
				}
				destroyLabel(t, r, sp.label)
				withSession(t, r, func(s *session) {
					if _, err := r.generate(s, &altered); err != nil {
						t.Fatal(err)
					}
				})
				err := r.Load(t.Context())
				if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), sp.label) ||
					!strings.Contains(err.Error(), a.name+":") {
					t.Errorf("got %v", err)
				}
			})
		}
		destroyLabel(t, r, sp.label)
		withSession(t, r, func(s *session) {
			if _, err := r.generate(s, sp); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLoadRefusesOtherTemplatesAndMechanisms(t *testing.T) {
	cases := []struct {
		name string
		edit func(*spec)
		says string
	}{
		{"no unwrap template", func(sp *spec) { sp.private.unwrap = nil }, "CKA_UNWRAP_TEMPLATE"},
		{"short unwrap template", func(sp *spec) { sp.private.unwrap = sp.private.unwrap[:3] }, "CKA_UNWRAP_TEMPLATE"},
		{"unwrap template of the other class", func(sp *spec) { sp.private.unwrap = unwrapAs(pkcs11.CKO_SECRET_KEY) },
			"does not keep to CKA_UNWRAP_TEMPLATE"},
		{"another mechanism", func(sp *spec) {
			sp.private.attributes = replaced(sp.private.attributes, pkcs11.CKA_ALLOWED_MECHANISMS, p11.Mechanisms(pkcs11.CKM_AES_ECB))
		}, "CKA_ALLOWED_MECHANISMS"},
		{"shorter key", func(sp *spec) {
			sp.private.attributes = replaced(sp.private.attributes, pkcs11.CKA_VALUE_LEN, uint(16))
		}, "CKA_VALUE_LEN"},
	}
	r := newToken(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			destroyLabel(t, r, LabelWrapPrivate)
			altered := specs[1]
			c.edit(&altered)
			withSession(t, r, func(s *session) {
				if _, err := r.generate(s, &altered); err != nil {
					t.Fatal(err)
				}
			})
			if err := r.Load(t.Context()); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func replaced(rows []attribute, typ uint, want any) []attribute {
	rows = append([]attribute(nil), rows...)
	for i := range rows {
		if rows[i].typ == typ {
			rows[i].want = want
		}
	}
	return rows
}

func withSession(tb testing.TB, r *rig, f func(*session)) {
	tb.Helper()
	if err := r.do(tb.Context(), "test", func(s *session) error { f(s); return nil }); err != nil {
		tb.Fatal(err)
	}
}

func destroyLabel(tb testing.TB, r *rig, label string) {
	tb.Helper()
	withSession(tb, r, func(s *session) {
		found, err := findLabel(r.module, s, label)
		if err != nil || len(found) == 0 {
			tb.Fatalf("find %s: %d, %v", label, len(found), err)
		}
		for _, h := range found {
			if err := r.module.DestroyObject(s.handle, h); err != nil {
				tb.Fatal(err)
			}
		}
	})
}

package hsm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

// openJoiner opens the token that waits for the keys of a cluster.
func openJoiner(tb testing.TB) *rig {
	tb.Helper()
	_, joiner := newPair(tb)
	return joiner.open(tb)
}

// mustHaveNothing fails unless the token holds no key of a cluster, uses none, and waits for them as before.
func (r *rig) mustHaveNothing(tb testing.TB) {
	tb.Helper()
	for _, label := range shared() {
		if left := r.has(tb, label); len(left) > 0 {
			tb.Errorf("left: %v", left)
		}
	}
	if r.MasterKCV() != nil {
		tb.Error("keys are loaded")
	}
	if provisioned, err := r.Provisioned(tb.Context()); provisioned || err != nil {
		tb.Errorf("Provisioned: %v, %v", provisioned, err)
	}
	if err := r.Load(tb.Context()); !errors.Is(err, ErrNotProvisioned) {
		tb.Errorf("Load: %v", err)
	}
}

// mustReceive shows that the transfer can still be received.
func (r *rig) mustReceive(tb testing.TB) {
	tb.Helper()
	if err := r.ReceiveKeys(tb.Context(), prepared.transfer); err != nil {
		tb.Fatalf("the right transfer afterwards: %v", err)
	}
	if label, differs := prepared.transfer.KeyCheckValues.differs(r.KeyCheckValues()); differs {
		tb.Errorf("another %s", label)
	}
	if left := r.has(tb, LabelJoin); len(left) > 0 {
		tb.Errorf("left: %v", left)
	}
}

func TestReceiveRefusesWrongTransfers(t *testing.T) {
	r := openJoiner(t)
	damaged := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[100] ^= 1
		return b
	}
	cases := []struct {
		name string
		edit func(*Transfer)
		kind fault.Kind
		says string
	}{
		{"empty", func(tr *Transfer) { *tr = Transfer{} }, fault.Malformed, "hash"},
		{"unknown hash", func(tr *Transfer) { tr.OAEPHash = "MD5" }, fault.Malformed, "hash"},
		{"short blob", func(tr *Transfer) { tr.WrapSecret = tr.WrapSecret[:511] }, fault.Malformed, LabelWrapSecret + " has 511 bytes"},
		{"no blob", func(tr *Transfer) { tr.Master = nil }, fault.Malformed, LabelMaster + " has 0 bytes"},
		{"damaged master", func(tr *Transfer) { tr.Master = damaged(tr.Master) }, fault.Malformed, LabelMaster + " of the transfer"},
		{"damaged third", func(tr *Transfer) { tr.WrapSecret = damaged(tr.WrapSecret) }, fault.Malformed, LabelWrapSecret + " of the transfer"},
		{"for another token", func(tr *Transfer) { tr.Master = prepared.other }, fault.Malformed, "not wrapped for"},
		{"wrapping keys swapped", func(tr *Transfer) {
			tr.WrapPrivate, tr.WrapSecret = tr.WrapSecret, tr.WrapPrivate
		}, fault.Conflict, LabelWrapPrivate},
		{"master swapped", func(tr *Transfer) { tr.Master, tr.WrapSecret = tr.WrapSecret, tr.Master }, fault.Conflict, LabelMaster},
		{"one key twice", func(tr *Transfer) { tr.WrapSecret = tr.WrapPrivate }, fault.Conflict, LabelWrapSecret},
		{"another check value", func(tr *Transfer) {
			tr.KeyCheckValues.WrapSecret = bytes.Clone(tr.KeyCheckValues.WrapSecret)
			tr.KeyCheckValues.WrapSecret[7] ^= 1
		}, fault.Conflict, LabelWrapSecret},
		{"no check value", func(tr *Transfer) { tr.KeyCheckValues.Master = nil }, fault.Conflict, LabelMaster},
		{"short check value", func(tr *Transfer) {
			tr.KeyCheckValues.WrapPrivate = tr.KeyCheckValues.WrapPrivate[:4]
		}, fault.Conflict, LabelWrapPrivate},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			transfer := prepared.transfer
			c.edit(&transfer)
			err := r.ReceiveKeys(t.Context(), transfer)
			if fault.Of(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if _, down := r.DownSince(); down {
				t.Fatal("the token counts as down")
			}
			r.mustHaveNothing(t)
		})
	}
	r.mustReceive(t)
}

func TestReceiveFailsHalfWay(t *testing.T) {
	full := pkcs11.Error(pkcs11.CKR_DEVICE_MEMORY)
	cases := []struct {
		name  string
		call  string
		fault p11.Fault
	}{
		{"the first key", "C_UnwrapKey", p11.Fault{Err: full, Times: 1}},
		{"the third key", "C_UnwrapKey", p11.Fault{Err: full, After: 2, Times: 1}},
		{"reading back", "C_GetAttributeValue", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID), After: 70, Times: 1}},
		{"the proof", "C_WrapKey", p11.Fault{Err: full, Times: 1}},
		{"the proof after the token was opened anew", "C_WrapKey", p11.Fault{Err: full, After: 2, Times: 1}},
		{"cs-join stays", "C_DestroyObject", p11.Fault{Err: full, After: 6, Times: 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := openJoiner(t)
			r.faults.Set(c.call, c.fault)
			if err := r.ReceiveKeys(t.Context(), prepared.transfer); err == nil {
				t.Fatal("no error")
			}
			r.faults.Clear()
			r.mustHaveNothing(t)
			r.mustReceive(t)
			r.mustExpand(t)
		})
	}
}

// What cannot be deleted because the token is gone is not used, and goes with the next try.
func TestReceiveIsCutOff(t *testing.T) {
	cases := []struct {
		name string
		cut  func(*rig)
	}{
		{"the token goes after the second key", func(r *rig) {
			gone := pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED)
			r.faults.Set("C_UnwrapKey", p11.Fault{Err: gone, After: 2, Hook: func() { r.faults.Set("C_FindObjects", p11.Fault{Err: gone}) }})
		}},
		{"the token does not come back", func(r *rig) {
			r.faults.Set("C_Initialize", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_GENERAL_ERROR)})
		}},
		{"the process ends before cs-join is deleted", func(r *rig) {
			// The two proofs delete three objects of the session each; the next would be the first half of cs-join.
			r.faults.Set("C_DestroyObject", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED), After: 6})
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := openJoiner(t)
			c.cut(r)
			err := r.ReceiveKeys(t.Context(), prepared.transfer)
			if !errors.Is(err, fault.HSMUnavailable) {
				t.Fatalf("got %v", err)
			}
			if _, down := r.DownSince(); !down {
				t.Error("the token does not count as down")
			}
			r.faults.Clear()
			r.run(t)
			r.waitUp(t)
			if left := r.has(t, LabelMaster); len(left) == 0 {
				t.Fatal("nothing is left: this shows nothing")
			}
			if provisioned, err := r.Provisioned(t.Context()); provisioned || err != nil {
				t.Errorf("Provisioned: %v, %v", provisioned, err)
			}
			if err := r.Load(t.Context()); !errors.Is(err, ErrNotProvisioned) || !strings.Contains(err.Error(), LabelJoin) {
				t.Errorf("Load: %v", err)
			}
			if err := r.AdoptKeys(t.Context(), prepared.transfer.KeyCheckValues); !errors.Is(err, fault.Conflict) {
				t.Errorf("AdoptKeys: %v", err)
			}
			r.mustReceive(t)
		})
	}
}

// A full disk: SoftHSM2 answers CKR_OK and leaves an empty file, here for each of the three keys.
func TestReceiveFindsEmptyObjectFiles(t *testing.T) {
	for which := range 3 {
		r := openJoiner(t)
		before := objectFiles(t, r)
		r.faults.Set("C_Finalize", p11.Fault{Times: 1, Hook: func() {
			made := slices.DeleteFunc(objectFiles(t, r), func(path string) bool { return slices.Contains(before, path) })
			if len(made) != 3 {
				t.Fatalf("%d new object files", len(made))
			}
			if err := os.Truncate(made[which], 0); err != nil {
				t.Fatal(err)
			}
		}})
		if err := r.ReceiveKeys(t.Context(), prepared.transfer); err == nil {
			t.Errorf("object %d: no error", which)
		}
		r.mustHaveNothing(t)
		r.mustReceive(t)
		r.closeNow(t)
	}
}

// objectFiles returns the files of objects of every token in the store.
func objectFiles(tb testing.TB, r *rig) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(r.store.Tokens(), "*", "*.object"))
	if err != nil {
		tb.Fatal(err)
	}
	return slices.DeleteFunc(files, func(path string) bool { return filepath.Base(path) == "token.object" })
}

func TestReceiveNeedsCSJoin(t *testing.T) {
	r := newRig(t).open(t)
	if err := r.ReceiveKeys(t.Context(), Transfer{}); !errors.Is(err, ErrNotProvisioned) || !strings.Contains(err.Error(), LabelJoin) {
		t.Errorf("an empty token: %v", err)
	}
	if err := r.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	none := Transfer{KeyCheckValues: KCVs{make([]byte, 8), make([]byte, 8), make([]byte, 8)}}
	if err := r.ReceiveKeys(t.Context(), none); !errors.Is(err, ErrOtherMaster) {
		t.Errorf("a token of another cluster: %v", err)
	}
}

func TestPrepareJoin(t *testing.T) {
	_, r := newPair(t)
	r.open(t)
	// What an earlier try received half: it goes, and so does that cs-join.
	withSession(t, r, func(s *session) {
		if err := r.unwrapKeys("test", s, &prepared.transfer); err != nil {
			t.Fatal(err)
		}
	})
	again, err := r.PrepareJoin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Node, prepared.join.Node) {
		t.Error("another node key")
	}
	if bytes.Equal(again.Join, prepared.join.Join) {
		t.Error("the same join key")
	}
	if again.OAEPHash != SHA1 {
		t.Errorf("SoftHSM2 unwraps with %s", again.OAEPHash)
	}
	if _, err := parseJoinKey("test", again.Join); err != nil {
		t.Errorf("the other side refuses the join key: %v", err)
	}
	if got := r.has(t, "cs-"); !slices.Equal(got, []string{LabelJoin, LabelJoin, LabelNode, LabelNode}) {
		t.Errorf("the token has %v", got)
	}
	r.mustHaveNothing(t)
	if err := r.ReceiveKeys(t.Context(), prepared.transfer); !errors.Is(err, fault.Malformed) {
		t.Errorf("a transfer for the pair of an earlier try: %v", err)
	}

	// A fault half way leaves neither pair half.
	r.faults.Set("C_GenerateKeyPair", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_DEVICE_MEMORY), Times: 1})
	if _, err := r.PrepareJoin(t.Context()); err == nil {
		t.Error("no error")
	}
	if left := r.has(t, LabelJoin); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := r.Provision(t.Context()); !errors.Is(err, fault.Conflict) {
		t.Errorf("Provision beside a node key: %v", err)
	}
}

func TestPrepareJoinSparesKeysInUse(t *testing.T) {
	r := newToken(t)
	for name, f := range map[string]func() error{
		"alone": func() error { _, err := r.PrepareJoin(t.Context()); return err },
		"beside a cs-join": func() error {
			withSession(t, r, func(s *session) {
				template, free, err := (&object{class: pkcs11.CKO_PUBLIC_KEY, attributes: joinSpec.public.attributes[:5]}).template(LabelJoin)
				if err != nil {
					t.Fatal(err)
				}
				defer free()
				if _, err := r.module.CreateObject(s.handle, append(template,
					pkcs11.NewAttribute(pkcs11.CKA_MODULUS, make([]byte, 512)),
					pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))); err != nil {
					t.Fatal(err)
				}
			})
			_, err := r.PrepareJoin(t.Context())
			return errors.Join(err, mustFail(t, r.ReceiveKeys(t.Context(), prepared.transfer)))
		},
	} {
		if err := f(); !errors.Is(err, fault.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
		r.mustExpand(t)
		if got := r.has(t, LabelMaster); len(got) != 1 {
			t.Fatalf("%s: the token has %v", name, got)
		}
	}
}

func mustFail(tb testing.TB, err error) error {
	tb.Helper()
	if err == nil {
		tb.Error("no error")
	}
	return err
}

func TestNodeLabels(t *testing.T) {
	for label, good := range map[string]bool{
		"": true, LabelNode: true, "cs-node-2": true, "cs-node-node-0a1b": true,
		"cs-node-": false, "cs-node-A": false, "cs-nodes": false, LabelMaster: false, "node": false,
		"cs-node-" + strings.Repeat("a", 57): false,
	} {
		c := Config{Module: "m", TokenLabel: "t", NodeLabel: label}
		if _, err := c.withDefaults(); (err == nil) != good {
			t.Errorf("%q: %v", label, err)
		}
	}
}

// Two nodes with one token: each finds its own node key and both have the same keys.
func TestAdoptKeys(t *testing.T) {
	first := newToken(t)
	want, kcvs, node := first.mustExpand(t), first.KeyCheckValues(), spki(first.NodeSigner().Public())
	first.closeNow(t)

	r := rigFor(t, first.cfg.Module, first.store, testLabel)
	r.cfg.NodeLabel = "cs-node-b"
	r.open(t)
	provisioned, err := r.Provisioned(t.Context())
	if provisioned || !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "no cs-node-b") {
		t.Errorf("Provisioned: %v, %v", provisioned, err)
	}
	if err := r.AdoptKeys(t.Context(), KCVs{kcvs.Master, kcvs.WrapSecret, kcvs.WrapPrivate}); !errors.Is(err, ErrOtherMaster) {
		t.Errorf("other check values: %v", err)
	}
	// The proof after the node key was made.
	r.faults.Set("C_WrapKey", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_DEVICE_MEMORY), After: 2, Times: 1})
	if err := r.AdoptKeys(t.Context(), kcvs); err == nil {
		t.Error("no error")
	}
	if left := r.has(t, "cs-node-"); len(left) > 0 || r.MasterKCV() != nil {
		t.Errorf("left: %v", left)
	}
	for range 2 {
		if err := r.AdoptKeys(t.Context(), kcvs); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(r.mustExpand(t), want) {
		t.Error("another key")
	}
	own := spki(r.NodeSigner().Public())
	if bytes.Equal(own, node) {
		t.Error("both nodes have one node key")
	}
	r.closeNow(t)
	for label, key := range map[string][]byte{"cs-node-b": own, LabelNode: node} {
		r.cfg.NodeLabel = label
		if err := r.open(t).Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(spki(r.NodeSigner().Public()), key) {
			t.Errorf("another key under %s", label)
		}
		r.closeNow(t)
	}

	// A copied token: whose cs-node this is cannot be told.
	r.cfg.NodeLabel = LabelNode
	err = r.open(t).AdoptKeys(t.Context(), kcvs)
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "label of its own") {
		t.Errorf("another node's key: %v", err)
	}
	destroyLabel(t, r, LabelWrapSecret)
	if err := r.AdoptKeys(t.Context(), kcvs); !errors.Is(err, ErrNotProvisioned) || !strings.Contains(err.Error(), LabelWrapSecret) {
		t.Errorf("a missing key: %v", err)
	}
}

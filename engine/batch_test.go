package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

func items(list ...string) []engine.BatchItem {
	var out []engine.BatchItem
	for _, s := range list {
		out = append(out, engine.BatchItem{Data: []byte(s)})
	}
	return out
}

// TestBatch encrypts many, damages one, decrypts and rewraps: each item has its own result and its entry in one record.
func TestBatch(t *testing.T) {
	w := newWorld(t)
	for _, context := range []string{"user-pii", "legacy"} {
		t.Run(context, func(t *testing.T) {
			var plain []engine.BatchItem
			for i := range 100 {
				plain = append(plain, engine.BatchItem{Data: bytes.Repeat([]byte{byte(i)}, i), AssociatedData: fmt.Append(nil, i%3)})
			}
			before := w.audit.all.Load()
			sealed, err := w.engine.EncryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: context, Items: plain})
			if err != nil || len(sealed.Items) != 100 || sealed.Failed() != 0 {
				t.Fatalf("%d failed, %v", sealed.Failed(), err)
			}
			if w.audit.all.Load() != before+1 {
				t.Fatal("a batch has more than one record")
			}
			if r := w.audit.last.Load(); len(r.Items) != 100 || r.Items[99].In != 99 || r.Items[99].Out != len(sealed.Items[99].Data) || r.KeyID == "" {
				t.Fatalf("%+v", r)
			}
			w.rotate(context)
			frames := make([]engine.BatchItem, 100)
			for i, item := range sealed.Items {
				frames[i] = engine.BatchItem{Data: bytes.Clone(item.Data), AssociatedData: plain[i].AssociatedData}
			}
			frames[7].Data[len(frames[7].Data)-1] ^= 1
			opened, err := w.engine.DecryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: context, Items: frames})
			if err != nil || opened.Failed() != 1 || !errors.Is(opened.Items[7].Err, fault.DecryptFailed) || opened.Items[7].Data != nil {
				t.Fatalf("%+v, %v", opened.Items[7], err)
			}
			for i, item := range opened.Items {
				if i != 7 && (!bytes.Equal(item.Data, plain[i].Data) || !item.Rewrap) {
					t.Fatalf("item %d: %+v", i, item)
				}
			}
			if r := w.audit.last.Load(); r.Items[7].Code != "decrypt-failed" || r.Items[7].Cause != "tag" || r.Items[8].KeyID != sealed.Items[8].KeyID {
				t.Fatalf("%+v", r.Items[7:9])
			}
			again, err := w.engine.RewrapBatch(t.Context(), w.call(), &engine.BatchRequest{Context: context, Items: frames})
			if err != nil || again.Failed() != 1 {
				t.Fatalf("rewrap: %d failed, %v", again.Failed(), err)
			}
			got, err := w.engine.Decrypt(t.Context(), w.call(), &engine.DecryptRequest{
				Context: context, Ciphertext: again.Items[50].Data, AssociatedData: plain[50].AssociatedData,
			})
			if err != nil || !bytes.Equal(got.Plaintext, plain[50].Data) || got.Rewrap {
				t.Fatalf("%v, rewrap %v", err, got.Rewrap)
			}
		})
	}
}

func TestBatchBounds(t *testing.T) {
	w := newWorld(t)
	limited := w.newApplication(w.tenant, "limited", "payment-data")
	for name, c := range map[string]struct {
		app   *directory.Application
		items []engine.BatchItem
		want  fault.Kind
	}{
		"empty":       {w.app, nil, fault.Malformed},
		"too many":    {w.app, make([]engine.BatchItem, engine.MaxBatch+1), fault.TooLarge},
		"not granted": {limited, items("a"), fault.Forbidden},
	} {
		in := &engine.BatchRequest{Context: "user-pii", Items: c.items}
		if _, err := w.engine.EncryptBatch(t.Context(), callOf(subject(c.app)), in); !errors.Is(err, c.want) {
			t.Errorf("%s, encrypt: %v", name, err)
		}
		if _, err := w.engine.DecryptBatch(t.Context(), callOf(subject(c.app)), in); !errors.Is(err, c.want) {
			t.Errorf("%s, decrypt: %v", name, err)
		}
		if _, err := w.engine.RewrapBatch(t.Context(), callOf(subject(c.app)), in); !errors.Is(err, c.want) {
			t.Errorf("%s, rewrap: %v", name, err)
		}
	}
	out, err := w.engine.EncryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "user-pii", Items: make([]engine.BatchItem, engine.MaxBatch)})
	if err != nil || out.Failed() != 0 {
		t.Fatalf("as many as may be: %v", err)
	}
}

// TestBatchItemFailsAlone: what is wrong with one item is that item's, what is wrong with the node is the batch's.
func TestBatchItemFailsAlone(t *testing.T) {
	w := newWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "ccm", Algorithm: algs.AES256CCM})
	w.app = w.newApplication(w.tenant, "all", "ccm", "user-pii")
	in := &engine.BatchRequest{Context: "ccm", Items: items("a", string(make([]byte, 70_000)), "c")}
	out, err := w.engine.EncryptBatch(t.Context(), w.call(), in)
	if err != nil || out.Failed() != 1 || !errors.Is(out.Items[1].Err, fault.TooLarge) || len(out.Items[1].Data) != 0 {
		t.Fatalf("%+v, %v", out.Items[1], err)
	}
	other := w.mustEncrypt("user-pii", "x", "").Ciphertext
	mixed := items("junk", string(other), string(out.Items[2].Data))
	got, err := w.engine.DecryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "ccm", Items: mixed})
	if err != nil || !errors.Is(got.Items[0].Err, fault.DecryptFailed) || !errors.Is(got.Items[1].Err, fault.ContextMismatch) ||
		string(got.Items[2].Data) != "c" {
		t.Fatalf("%+v, %v", got.Items, err)
	}
	w.audit.fail.Store(true)
	if _, err := w.engine.DecryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "ccm", Items: mixed}); !errors.Is(err, fault.AuditUnavailable) {
		t.Fatalf("without a record: %v", err)
	}
	w.audit.fail.Store(false)
	w.engine.Close() // nothing is cached
	t0 := time.Now().Add(-time.Hour)
	w.vault.down.Store(&t0)
	if _, err := w.engine.DecryptBatch(t.Context(), w.call(), &engine.BatchRequest{Context: "ccm", Items: mixed[2:]}); !errors.Is(err, fault.HSMUnavailable) {
		t.Fatalf("without the token: %v", err)
	}
}

// TestRewrap needs both rights, keeps the plaintext and names the version of before.
func TestRewrap(t *testing.T) {
	w := newWorld(t)
	before := w.mustEncrypt("user-pii", "plaintext", "aad")
	rotated := w.rotate("user-pii")
	in := &engine.RewrapRequest{Context: "user-pii", Ciphertext: before.Ciphertext, AssociatedData: []byte("aad")}
	out, err := w.engine.Rewrap(t.Context(), w.call(), in)
	if err != nil || out.KeyID != rotated.Version.ID {
		t.Fatalf("%+v, %v", out, err)
	}
	if r := w.audit.last.Load(); r.Action != "crypto.rewrap" || r.Resource != before.KeyID || r.KeyID != out.KeyID || r.Result != audit.Success {
		t.Fatalf("%+v", r)
	}
	if got, err := w.decrypt("user-pii", out.Ciphertext, "aad"); err != nil || string(got.Plaintext) != "plaintext" || got.Rewrap {
		t.Fatal(err)
	}
	in.AssociatedData = nil
	if _, err := w.engine.Rewrap(t.Context(), w.call(), in); !errors.Is(err, fault.DecryptFailed) {
		t.Fatalf("other associated data: %v", err)
	}
	app, err := w.engine.CreateApplication(t.Context(), w.appliance(w.tenant), engine.ApplicationSpec{
		Name: "reader", Grants: []directory.Grant{{Context: "user-pii", Decrypt: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.Rewrap(t.Context(), callOf(subject(app)), in); !errors.Is(err, fault.Forbidden) {
		t.Fatalf("an application that may only decrypt: %v", err)
	}
}

func TestDataKeys(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{0, 16, 24, 32, 64} {
		out, err := w.engine.DataKey(t.Context(), w.call(), &engine.DataKeyRequest{Context: "user-pii", Bytes: n}, true)
		want := n
		if n == 0 {
			want = 32
		}
		if err != nil || len(out.Plaintext) != want {
			t.Fatalf("%d bytes: %d, %v", n, len(out.Plaintext), err)
		}
		if got, err := w.decrypt("user-pii", out.Wrapped.Ciphertext, ""); err != nil || !bytes.Equal(got.Plaintext, out.Plaintext) {
			t.Fatal("the wrapped key is another")
		}
	}
	out, err := w.engine.DataKey(t.Context(), w.call(), &engine.DataKeyRequest{Context: "user-pii"}, false)
	if err != nil || out.Plaintext != nil || len(out.Wrapped.Ciphertext) == 0 {
		t.Fatalf("wrapped only: %v", err)
	}
	for _, n := range []int{-1, 1, 33, 1 << 20} {
		if _, err := w.engine.DataKey(t.Context(), w.call(), &engine.DataKeyRequest{Context: "user-pii", Bytes: n}, true); !errors.Is(err, fault.Malformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := w.engine.DataKey(t.Context(), w.call(), &engine.DataKeyRequest{Context: "closed"}, true); !errors.Is(err, fault.Forbidden) {
		t.Errorf("not granted: %v", err)
	}
}

func TestRandom(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{1, 32, engine.MaxRandomBytes} {
		if out, err := w.engine.Random(t.Context(), w.call(), n); err != nil || len(out) != n {
			t.Errorf("%d bytes: %d, %v", n, len(out), err)
		}
	}
	for _, n := range []int{-1, 0, engine.MaxRandomBytes + 1} {
		if _, err := w.engine.Random(t.Context(), w.call(), n); !errors.Is(err, fault.Malformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := w.engine.Random(t.Context(), &engine.Call{}, 1); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("nobody: %v", err)
	}
}

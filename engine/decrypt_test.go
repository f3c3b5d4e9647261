package engine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// reheader returns the frame with its header edited as text.
func reheader(t *testing.T, frame []byte, old, replacement string) []byte {
	t.Helper()
	n := int(binary.BigEndian.Uint16(frame))
	header := string(frame[2 : 2+n])
	edited := strings.Replace(header, old, replacement, 1)
	if edited == header {
		t.Fatalf("%q is not in %s", old, header)
	}
	out := binary.BigEndian.AppendUint16(nil, uint16(len(edited)))
	return append(append(out, edited...), frame[2+n:]...)
}

// TestInvariant08KeyComesFromTheRecord plays an application with good rights that edits headers to reach other keys.
func TestInvariant08KeyComesFromTheRecord(t *testing.T) {
	w := newWorld(t)
	otherTenant := w.newTenant("second")
	w.newContext(otherTenant, engine.ContextSpec{Name: "user-pii"})
	w.newContext(otherTenant, engine.ContextSpec{Name: "legacy", Format: 3})
	neighbour := w.newApplication(otherTenant, "neighbour", "user-pii", "legacy")
	limited := w.newApplication(w.tenant, "limited", "payment-data")
	w.newContext(w.tenant, engine.ContextSpec{Name: "general", Format: 3})
	general := w.newApplication(w.tenant, "general", "general")

	pii := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	legacy := w.mustEncrypt("legacy", "secret", "").Ciphertext
	cases := []struct {
		name    string
		app     *directory.Application
		context string
		frame   []byte
		want    fault.Kind
	}{
		{"another tenant, same context name", neighbour, "user-pii", pii, fault.DecryptFailed},
		{"another tenant, format 3", neighbour, "legacy", legacy, fault.DecryptFailed},
		{"context not granted", limited, "user-pii", pii, fault.Forbidden},
		{"header rewritten to a granted context", limited, "payment-data", reheader(t, pii, `"ctx":"user-pii"`, `"ctx":"payment-data"`), fault.DecryptFailed},
		{"format 3 header rewritten to a granted context", general, "general", reheader(t, legacy, `"ctx":"legacy"`, `"ctx":"general"`), fault.DecryptFailed},
		{"may use both: mismatch is named", w.app, "payment-data", pii, fault.ContextMismatch},
		{"may use one: mismatch is not named", limited, "payment-data", pii, fault.DecryptFailed},
		{"may use both, header rewritten", w.app, "payment-data", reheader(t, pii, `"ctx":"user-pii"`, `"ctx":"payment-data"`), fault.DecryptFailed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out, err := w.engine.Decrypt(t.Context(), callOf(subject(c.app)), &engine.DecryptRequest{Context: c.context, Ciphertext: c.frame})
			if fault.Of(err) != c.want || out.Plaintext != nil {
				t.Fatalf("got %q, %v; want %v", out.Plaintext, err, c.want)
			}
		})
	}
}

// TestInvariant09OneAnswerForEveryFailure makes every kind of bad ciphertext and wants one public answer, with the cause in
// the audit record alone.
func TestInvariant09OneAnswerForEveryFailure(t *testing.T) {
	w := newWorld(t)
	w.newApplication(w.tenant, "limited", "payment-data")
	pii := w.mustEncrypt("user-pii", "secret", "aad")
	legacy := w.mustEncrypt("legacy", "secret", "aad")
	payment := w.mustEncrypt("payment-data", "secret", "aad")
	flip := func(frame []byte, fromEnd int) []byte {
		b := bytes.Clone(frame)
		b[len(b)-1-fromEnd] ^= 1
		return b
	}
	kid := func(frame []byte, id, other string) []byte { return reheader(t, frame, id, other) }
	cases := []struct {
		name, context string
		frame         []byte
		aad           string
		cause         string
	}{
		{"empty", "user-pii", nil, "aad", "frame"},
		{"garbage", "user-pii", []byte("hello there, this is no frame at all"), "aad", "frame"},
		{"truncated header", "user-pii", pii.Ciphertext[:20], "aad", "frame"},
		{"truncated body", "user-pii", pii.Ciphertext[:len(pii.Ciphertext)-1], "aad", "tag"},
		{"extended", "user-pii", append(bytes.Clone(pii.Ciphertext), 0), "aad", "tag"},
		{"tag", "user-pii", flip(pii.Ciphertext, 0), "aad", "tag"},
		{"ciphertext", "user-pii", flip(pii.Ciphertext, 17), "aad", "tag"},
		{"wrong associated data", "user-pii", pii.Ciphertext, "other", "tag"},
		{"associated data left out", "user-pii", pii.Ciphertext, "", "tag"},
		{"unknown key", "user-pii", kid(pii.Ciphertext, pii.KeyID, "key_user-pii_0000000000000000"), "aad", "key"},
		{"key of another context", "user-pii", kid(pii.Ciphertext, pii.KeyID, payment.KeyID), "aad", "key"},
		{"format 3, key of another context", "legacy", kid(legacy.Ciphertext, legacy.KeyID, payment.KeyID), "aad", "key"},
		{"another algorithm", "user-pii", reheader(t, pii.Ciphertext, "AES-256-GCM", "AES-128-GCM"), "aad", "commitment"},
		{"an algorithm that is only read", "user-pii", reheader(t, pii.Ciphertext, "AES-256-GCM", "AES-256-XTS"), "aad", "algorithm"},
		{"format 3, another algorithm", "legacy", reheader(t, legacy.Ciphertext, "AES-256-GCM", "AES-128-GCM"), "aad", "algorithm"},
		{"version 5", "user-pii", reheader(t, pii.Ciphertext, `"v":4`, `"v":5`), "aad", "frame"},
		{"salt", "user-pii", reheader(t, pii.Ciphertext, `"salt":"`+saltOf(pii.Ciphertext), `"salt":"`+strings.Repeat("A", 43)+"="), "aad", "commitment"},
		{"format 3, nonce", "legacy", reheader(t, legacy.Ciphertext, `"nonce":"`+fieldOf(legacy.Ciphertext, "nonce"), `"nonce":"`+strings.Repeat("A", 16)), "aad", "tag"},
		{"format 3, commitment", "legacy", reheader(t, legacy.Ciphertext, `"kc":"`+fieldOf(legacy.Ciphertext, "kc"), `"kc":"`+strings.Repeat("A", 43)+"="), "aad", "commitment"},
		{"format 3, flag of associated data", "legacy", reheader(t, legacy.Ciphertext, `"aad":true`, `"aad":false`), "aad", "tag"},
		{"format 3, mode", "legacy", reheader(t, legacy.Ciphertext, `"mode":"gcm"`, `"mode":"cbc"`), "aad", "frame"},
	}
	var first string
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out, err := w.decrypt(c.context, c.frame, c.aad)
			var f *fault.Error
			if !errors.As(err, &f) || out.Plaintext != nil {
				t.Fatalf("got %q, %v", out.Plaintext, err)
			}
			public := fmt.Sprint(f.Kind.Code(), "|", f.Detail, "|", f.Fields)
			if first == "" {
				first = public
			}
			if public != first || f.Kind != fault.DecryptFailed {
				t.Errorf("answers %q, the first answered %q", public, first)
			}
			if r := w.audit.last.Load(); r.Cause != c.cause || r.Result != audit.Denied || r.Code != "decrypt-failed" {
				t.Errorf("recorded %q, %s, %s; want cause %q", r.Cause, r.Result, r.Code, c.cause)
			}
		})
	}
}

func saltOf(frame []byte) string { return fieldOf(frame, "salt") }

// fieldOf returns the text of a header field.
func fieldOf(frame []byte, name string) string {
	_, rest, _ := strings.Cut(string(frame), `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func TestContextMismatchNamesBothContexts(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	_, err := w.decrypt("payment-data", frame, "")
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.ContextMismatch || !strings.Contains(f.Detail, "user-pii") || !strings.Contains(f.Detail, "payment-data") {
		t.Fatalf("got %v", err)
	}
}

// TestInvariant03NoPlaintextStaysWithoutRecord looks into the caller's buffer after the audit log failed.
func TestInvariant03NoPlaintextStaysWithoutRecord(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	dst := make([]byte, 64)
	in := &engine.DecryptRequest{Context: "user-pii", Ciphertext: frame, Dst: dst}
	if _, err := w.engine.Decrypt(t.Context(), w.call(), in); err != nil || !bytes.HasPrefix(dst, []byte("secret")) {
		t.Fatalf("the buffer does not show the plaintext: %v", err)
	}
	w.audit.fail.Store(true)
	if _, err := w.engine.Decrypt(t.Context(), w.call(), in); !errors.Is(err, fault.AuditUnavailable) {
		t.Fatalf("got %v", err)
	}
	if !bytes.HasPrefix(dst, make([]byte, len("secret"))) {
		t.Errorf("the buffer holds %d bytes of an answer that was refused", len("secret"))
	}
}

// TestInvariant09DecoyDoesTheWork: a frame without a usable key costs the work of a wrong key. The work shows in what it
// allocates, which does not depend on the machine's load.
func TestInvariant09DecoyDoesTheWork(t *testing.T) {
	w, l := newShiftingWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "quantum", QuantumSafe: true})
	w.app = w.newApplication(w.tenant, "all", "user-pii", "legacy", "quantum")
	hybrid := w.mustEncrypt("quantum", "x", "")
	pii, legacy := w.mustEncrypt("user-pii", "x", ""), w.mustEncrypt("legacy", "x", "")
	const unknown, unknown3 = "key_user-pii_0000000000000000", "key_legacy_0000000000000000"
	uncommitted := func(frame []byte) []byte {
		return reheader(t, frame, `"kc":"`+fieldOf(frame, "kc"), `"kc":"`+strings.Repeat("A", 43)+"=")
	}
	allocations := func(context string, frame []byte, cause string) float64 {
		n := testing.AllocsPerRun(20, func() {
			out, err := w.decrypt(context, frame, "")
			if !errors.Is(err, fault.DecryptFailed) || out.Plaintext != nil {
				t.Fatalf("%d bytes of plaintext, %v", len(out.Plaintext), err)
			}
		})
		if r := w.audit.last.Load(); r.Cause != cause {
			t.Errorf("recorded the cause %q, want %q", r.Cause, cause)
		}
		return n
	}
	work4 := allocations("user-pii", uncommitted(pii.Ciphertext), "commitment")
	workHybrid := allocations("quantum", uncommitted(hybrid.Ciphertext), "commitment")
	work3 := allocations("legacy", uncommitted(legacy.Ciphertext), "commitment")
	frame := func(context string) []byte {
		return reheader(t, pii.Ciphertext, `"ctx":"user-pii","kid":"`+pii.KeyID, `"ctx":"`+context+`","kid":"`+unknown)
	}
	suspended := edits{version: func(v *keys.Version) { v.State = keys.Suspended }}
	decoys := w.engine.CountDecoys()
	tests := []struct {
		name, context string
		frame         []byte
		edits         edits
		cause         string
		work          float64
	}{
		{"unknown key", "user-pii", frame("user-pii"), edits{}, "key", work4},
		{"unknown key pair", "quantum", reheader(t, hybrid.Ciphertext, hybrid.KeyID, "key_quantum_0000000000000000"), edits{}, "key", workHybrid},
		{"unknown key, format 3", "legacy", reheader(t, legacy.Ciphertext, legacy.KeyID, unknown3), edits{}, "key", work3},
		{"context that the subject may not use", "user-pii", frame("closed"), edits{}, "context", work4},
		{"key that may not process", "user-pii", pii.Ciphertext, suspended, "key-state", work4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l.shift(&tt.edits, early)
			defer l.restore()
			// What differs by a few is how the records are looked up; the work of a wrong key is far more.
			if got := allocations(tt.context, tt.frame, tt.cause); got < tt.work-5 {
				t.Errorf("refused with %.0f allocations, a wrong key takes %.0f", got, tt.work)
			}
			if hybrid := tt.context == "quantum"; hybrid != (decoys.Swap(0) > 0) {
				t.Error("a decoy decapsulates where it should not, or none where it should")
			}
		})
	}
}

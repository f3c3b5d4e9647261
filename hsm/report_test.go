package hsm

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/secret"
	"cryptoserve/hsm/internal/p11"
)

func TestProbe(t *testing.T) {
	r := newToken(t)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := Probe(t.Context(), r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if report.Label != testLabel || report.Serial == "" || report.Maker == "" || !report.LoggedIn || len(report.Missing) != 0 {
		t.Errorf("got %+v", report)
	}
	want := []ObjectCount{{LabelMaster, 1}, {LabelWrapPrivate, 1}, {LabelWrapSecret, 1}, {LabelNode, 2}}
	if !slices.Equal(report.Objects, want) {
		t.Errorf("objects %v, want %v", report.Objects, want)
	}
	i := slices.IndexFunc(report.Mechanisms, func(m Mechanism) bool { return m.Name == "SHA256_HMAC" })
	if i < 0 || report.Mechanisms[i].Max < keyBytes || !slices.Contains(report.Mechanisms[i].Flags, "sign") {
		t.Errorf("mechanisms %+v", report.Mechanisms)
	}
	if len(report.Kinds) != len(kindRows) {
		t.Errorf("%d rows of algorithms", len(report.Kinds))
	}
	for _, k := range report.Kinds {
		if kinds[k.Algorithm] == nil || len(k.Missing) > 0 {
			t.Errorf("%s lacks %v", k.Algorithm, k.Missing)
		}
	}
	var text strings.Builder
	n, err := report.WriteTo(&text)
	if err != nil || int(n) != text.Len() {
		t.Errorf("wrote %d of %d bytes: %v", n, text.Len(), err)
	}
	for _, part := range []string{testLabel, LabelMaster, "SHA256_HMAC", "sign verify", "PKCS#11 2.40", "keys of RSA-PSS-4096"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the text has no %q:\n%s", part, text.String())
		}
	}
	if strings.Contains(text.String(), testPIN) {
		t.Error("the text has the PIN")
	}
	r.open(t) // nothing keeps the module
}

func TestProbeWithoutPIN(t *testing.T) {
	r := newRig(t)
	r.cfg.PIN = secret.Bytes{}
	report, err := Probe(t.Context(), r.cfg)
	if err != nil || report.LoggedIn || report.Objects != nil {
		t.Errorf("got %+v, %v", report, err)
	}
	if n := r.faults.Calls("C_Login"); n != 0 {
		t.Errorf("%d logins", n)
	}
	r.cfg.TokenLabel = "elsewhere"
	if _, err := Probe(t.Context(), r.cfg); !errors.Is(err, ErrNoToken) || !strings.Contains(err.Error(), testLabel) {
		t.Errorf("another label: %v", err)
	}
}

func TestProbeTellsWhatIsMissing(t *testing.T) {
	r := newRig(t)
	inject := r.cfg.wrapModule
	r.cfg.wrapModule = func(m p11.Module) p11.Module {
		return without{inject(m), []uint{pkcs11.CKM_AES_CMAC, pkcs11.CKM_AES_KEY_WRAP_PAD}}
	}
	report, err := Probe(t.Context(), r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(report.Missing, []string{"AES_KEY_WRAP_PAD"}) {
		t.Errorf("missing %v", report.Missing)
	}
	for _, k := range report.Kinds {
		if lacks := slices.Equal(k.Missing, []string{"AES_CMAC"}); lacks != strings.HasSuffix(string(k.Algorithm), "CMAC") {
			t.Errorf("%s lacks %v", k.Algorithm, k.Missing)
		}
	}
	var text strings.Builder
	if _, err := report.WriteTo(&text); err != nil || !strings.Contains(text.String(), "cannot be kept in this token: it has no AES_CMAC") {
		t.Errorf("%v:\n%s", err, text.String())
	}
}

package hsm

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cryptoserve/engine/secret"
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
	var text strings.Builder
	n, err := report.WriteTo(&text)
	if err != nil || int(n) != text.Len() {
		t.Errorf("wrote %d of %d bytes: %v", n, text.Len(), err)
	}
	for _, part := range []string{testLabel, LabelMaster, "SHA256_HMAC", "sign verify", "PKCS#11 2.40"} {
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

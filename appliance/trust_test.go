package appliance

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/engine/fault"
)

const soPIN = "5318008531800853"

// program writes a shell script that stands for cryptoserved, and a file with the PIN of the security officer.
func program(t *testing.T, script string) (path string, c HSMConfig, dir string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncd "+dir+"\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	c = HSMConfig{Module: "/module.so", TokenLabel: dir, SOPINFile: filepath.Join(dir, "so-pin")}
	if err := os.WriteFile(c.SOPINFile, []byte(soPIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, c, dir
}

// The PIN reaches the child through its standard input and nothing else.
func TestTrustKeyGivesThePINByStandardInput(t *testing.T) {
	path, c, dir := program(t, `cat > input; tr '\0' '\n' < /proc/$$/environ > environment; tr '\0' '\n' < /proc/$$/cmdline > arguments`)
	if err := TrustKey(t.Context(), path, c, "cs-join-01020304", [32]byte{1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(soPIN))
	for name, wants := range map[string]bool{"input": true, "environment": false, "arguments": false} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(text) == 0 {
			t.Fatal(name, err)
		}
		if got := strings.Contains(string(text), encoded) || strings.Contains(string(text), soPIN); got != wants {
			t.Errorf("the PIN is in the %s: %v", name, got)
		}
	}
	arguments, err := os.ReadFile(filepath.Join(dir, "arguments"))
	if err != nil || !strings.HasSuffix(string(arguments), "\nhsm\ntrust-key\n") {
		t.Errorf("arguments %q, %v", arguments, err)
	}
}

func TestTrustKeyFails(t *testing.T) {
	path, c, _ := program(t, "echo the token is away >&2; exit 1")
	err := TrustKey(t.Context(), path, c, "cs-join-01020304", [32]byte{})
	if !errors.Is(err, fault.HSMUnavailable) || errors.Is(err, ErrPIN) || !strings.Contains(err.Error(), "the token is away") {
		t.Errorf("got %v", err)
	}
	c.SOPINFile = ""
	if err := TrustKey(t.Context(), path, c, "cs-join-01020304", [32]byte{}); !errors.Is(err, fault.Unavailable) ||
		!strings.Contains(err.Error(), "hsm.so_pin_file") || !strings.Contains(err.Error(), "0600") {
		t.Errorf("without a file: %v", err)
	}
	c.SOPINFile = "/nowhere"
	if err := TrustKey(t.Context(), path, c, "cs-join-01020304", [32]byte{}); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("without the file: %v", err)
	}
}

// A child does not know what the token said to the one before.
func TestTrustKeyTriesARefusedPINOnce(t *testing.T) {
	path, c, dir := program(t, "echo x >> tries; exit 3")
	for range 3 {
		err := TrustKey(t.Context(), path, c, "cs-join-01020304", [32]byte{})
		if !errors.Is(err, ErrPIN) || strings.Contains(err.Error(), soPIN) {
			t.Fatalf("got %v", err)
		}
	}
	if err := os.WriteFile(c.SOPINFile, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := TrustKey(t.Context(), path, c, "cs-join-01020304", [32]byte{}); !errors.Is(err, ErrPIN) {
		t.Fatalf("another PIN: %v", err)
	}
	tries, err := os.ReadFile(filepath.Join(dir, "tries"))
	if err != nil || string(tries) != "x\nx\n" {
		t.Errorf("%d tries, want one of each PIN: %v", len(tries)/2, err)
	}
}

func TestServeTrustKeyRefusesOrders(t *testing.T) {
	pin := base64.StdEncoding.EncodeToString([]byte(soPIN))
	for name, line := range map[string]string{
		"nothing":        "",
		"no JSON":        soPIN,
		"unknown field":  `{"so_pin":"` + pin + `","user_pin":"` + pin + `"}`,
		"no fingerprint": `{"so_pin":"` + pin + `"}`,
		"two orders":     `{"so_pin":"` + pin + `"} {}`,
		"too long":       strings.Repeat(" ", maxTrustOrder+1),
	} {
		err := ServeTrustKey(strings.NewReader(line))
		if err == nil || strings.Contains(err.Error(), soPIN) || strings.Contains(err.Error(), pin) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

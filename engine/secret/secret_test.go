package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const marker = "correct horse battery"

// TestInvariant07SecretsAreNotPrinted tries every way in which Go turns a value into text.
func TestInvariant07SecretsAreNotPrinted(t *testing.T) {
	s := Copy([]byte(marker))
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", struct{ Key Bytes }{s})
		fmt.Fprintf(&out, verb+"\n", struct{ key Bytes }{s})
		fmt.Fprintf(&out, verb+"\n", []Bytes{s})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "key", s, "group", struct{ Key Bytes }{s})
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", s)
	if _, err := json.Marshal(struct{ Key Bytes }{s}); err == nil {
		t.Error("a secret was encoded as JSON")
	}
	text := strings.ToLower(out.String())
	for _, form := range []string{marker, fmt.Sprintf("%x", marker), "99 111 114 114 101", "0x63, 0x6f, 0x72, 0x72"} {
		if strings.Contains(text, strings.ToLower(form)) {
			t.Errorf("the secret shows as %q", form)
		}
	}
}

func TestDestroyOverwrites(t *testing.T) {
	raw := []byte(marker)
	s := New(raw)
	s.Destroy()
	if !bytes.Equal(raw, make([]byte, len(marker))) {
		t.Fatalf("left %q", raw)
	}
}

func TestCopyIsIndependent(t *testing.T) {
	raw := []byte(marker)
	s := Copy(raw)
	clear(raw)
	if string(s.Reveal()) != marker || s.Len() != len(marker) {
		t.Fatal("the copy changed with its origin")
	}
}

package systemtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/api/wire"
)

func segment(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of text and numbers
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// parts returns header and claims of a token.
func parts(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	pieces := strings.Split(token, ".")
	if len(pieces) != 3 {
		t.Fatalf("a token of %d parts", len(pieces))
	}
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(pieces[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// TestForgedTokens tries the attacks of RFC 8725 on a running node; api/auth has the full table.
func TestForgedTokens(t *testing.T) {
	d := dev(t, filepath.Join(t.TempDir(), "D"))
	good := d.file("app.token")
	header, claims := parts(t, good)
	_, own, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(h, c map[string]any) string {
		text := segment(h) + "." + segment(c)
		return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(own, []byte(text)))
	}
	with := func(m map[string]any, key string, value any) map[string]any {
		copied := map[string]any{}
		for k, v := range m {
			copied[k] = v
		}
		copied[key] = value
		return copied
	}
	hs256 := func(secret []byte) string {
		text := segment(with(header, "alg", "HS256")) + "." + segment(claims)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	cases := map[string]string{
		"none":                     "",
		"garbage":                  "garbage",
		"alg none":                 segment(with(header, "alg", "none")) + "." + segment(claims) + ".",
		"HS256 with a guessed key": hs256([]byte("cryptoserve")),
		"HS256 with the kid":       hs256([]byte(fmt.Sprint(header["kid"]))),
		"another key":              signed(header, claims),
		"another application":      signed(header, with(claims, "sub", "app_other_0000000000000000")),
		"signature cut":            good[:len(good)-4],
		"claims changed":           strings.Split(good, ".")[0] + "." + segment(with(claims, "contexts", []string{"closed"})) + "." + strings.Split(good, ".")[2],
		"refresh token":            d.file("app.refresh"),
		"session that is not":      "cs_session_" + base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
		"12 KB":                    strings.Repeat("a", 12<<10),
	}
	for name, token := range cases {
		t.Run(name, func(t *testing.T) {
			d.with(token).fails(http.StatusUnauthorized, "unauthenticated", http.MethodPost, encryptPath,
				wire.EncryptRequest{Context: "default", Plaintext: []byte("x")})
		})
	}
	d.with(good).encrypt("default", "x")
	d.stop()
	for _, cause := range []string{"signature", "token-algorithm", "malformed-token", "session", "no-token"} {
		if !strings.Contains(auditText(t, d.dir), `"cause":"`+cause+`"`) {
			t.Errorf("no audit record has the cause %s", cause)
		}
	}
}

// TestBadRequests sends what a careless or hostile caller sends.
func TestBadRequests(t *testing.T) {
	d := dev(t, filepath.Join(t.TempDir(), "D"))
	app := d.as("app.token")
	frame := base64.StdEncoding.EncodeToString(app.encrypt("user-pii", "hello").Ciphertext)
	cases := []struct {
		name, path, body string
		status           int
		code, field      string
	}{
		{"not JSON", encryptPath, "hello", 400, "malformed-request", ""},
		{"empty", encryptPath, "", 400, "malformed-request", ""},
		{"unknown field", encryptPath, `{"plaintext":"","context":"default","mode":"ecb"}`, 400, "malformed-request", "mode"},
		{"field twice", encryptPath, `{"plaintext":"","context":"default","context":"general"}`, 400, "malformed-request", ""},
		{"field missing", encryptPath, `{"plaintext":"aGk="}`, 400, "malformed-request", "context"},
		{"wrong type", encryptPath, `{"plaintext":1,"context":"default"}`, 400, "malformed-request", "plaintext"},
		{"trailing data", encryptPath, `{"plaintext":"","context":"default"}{}`, 400, "malformed-request", ""},
		{"bad base64", encryptPath, `{"plaintext":"a*b=","context":"default"}`, 400, "malformed-request", "plaintext"},
		{"base64 without padding", encryptPath, `{"plaintext":"aGk","context":"default"}`, 400, "malformed-request", "plaintext"},
		{"base64url", encryptPath, `{"plaintext":"__8=","context":"default"}`, 400, "malformed-request", "plaintext"},
		{"odd bytes in the context", encryptPath, `{"plaintext":"","context":"default\u0000"}`, 400, "malformed-request", "context"},
		{"context of another form", encryptPath, `{"plaintext":"","context":"../default"}`, 400, "malformed-request", "context"},
		{"context not granted", encryptPath, `{"plaintext":"","context":"nowhere"}`, 403, "forbidden", ""},
		{"unknown algorithm", encryptPath, `{"plaintext":"","context":"default","algorithm":"RC4"}`, 400, "malformed-request", "algorithm"},
		{"algorithm against the policy", encryptPath, `{"plaintext":"","context":"user-pii","algorithm":"AES-128-GCM"}`, 403, "algorithm-disallowed", ""},
		{"too large", encryptPath, `{"plaintext":"` + strings.Repeat("AAAA", 5<<20) + `","context":"default"}`, 413, "too-large", ""},
		{"wrong associated data", decryptPath, `{"ciphertext":"` + frame + `","context":"user-pii","associated_data":"eA=="}`, 400, "decrypt-failed", ""},
		{"no frame", decryptPath, `{"ciphertext":"aGVsbG8=","context":"user-pii"}`, 400, "decrypt-failed", ""},
		{"another context", decryptPath, `{"ciphertext":"` + frame + `","context":"general"}`, 400, "context-mismatch", ""},
		{"refresh with an access token", refreshPath, `{"refresh_token":"` + d.file("app.token") + `"}`, 401, "unauthenticated", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := app.fails(c.status, c.code, http.MethodPost, c.path, c.body)
			if c.field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != c.field) {
				t.Errorf("fields %+v, want %s", p.Errors, c.field)
			}
		})
	}
	app.opens("user-pii", app.encrypt("user-pii", "still here").Ciphertext, "still here")
	d.stop()
	verifyAudit(t, d.dir)
	records := auditText(t, d.dir)
	for _, code := range []string{"malformed-request", "forbidden", "algorithm-disallowed", "too-large", "decrypt-failed", "context-mismatch", "unauthenticated"} {
		if !strings.Contains(records, `"code":"`+code+`"`) {
			t.Errorf("no audit record has the code %s", code)
		}
	}
}

// TestInvariant09EveryEditedHeaderGetsOneAnswer flips one bit in each byte of a ciphertext frame, its header included, and compares
// whole answers.
func TestInvariant09EveryEditedHeaderGetsOneAnswer(t *testing.T) {
	d := dev(t, filepath.Join(t.TempDir(), "D"))
	app := d.as("app.token")
	frame := app.encrypt("user-pii", "hello").Ciphertext
	var first []byte
	for i := range frame {
		edited := bytes.Clone(frame)
		edited[i] ^= 1
		status, _, raw := app.do(http.MethodPost, decryptPath, wire.DecryptRequest{Context: "user-pii", Ciphertext: edited})
		var p map[string]any
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		delete(p, "request_id")
		delete(p, "instance")
		same, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = same
		}
		if status != http.StatusBadRequest || !bytes.Equal(same, first) {
			t.Fatalf("byte %d: %d %s; byte 0: %s", i, status, same, first)
		}
	}
	d.stop()
}

// TestInvariant07NothingSecretIsWritten looks for payloads and tokens in the node's log and the audit log.
func TestInvariant07NothingSecretIsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir, "--log-level", "debug")
	app := d.as("app.token")
	const plaintext, aad = "the quick brown fox 4711", "jumps over the lazy dog"
	in := wire.EncryptRequest{Context: "default", Plaintext: []byte(plaintext), AssociatedData: []byte(aad)}
	out := ask[wire.EncryptResponse](app, http.MethodPost, encryptPath, in)
	app.fails(400, "decrypt-failed", http.MethodPost, decryptPath, wire.DecryptRequest{Context: "default", Ciphertext: out.Ciphertext})
	app.fails(400, "malformed-request", http.MethodPost, encryptPath, `{"plaintext":"`+plaintext+`","context":"default"}`)
	refreshed := ask[wire.RefreshResponse](d.as(""), http.MethodPost, refreshPath, wire.RefreshRequest{RefreshToken: d.file("app.refresh")})
	secrets := map[string]string{
		"the plaintext": plaintext, "the plaintext in base64": base64.StdEncoding.EncodeToString([]byte(plaintext)),
		"the associated data": aad, "the associated data in base64": base64.StdEncoding.EncodeToString([]byte(aad)),
		"the ciphertext": base64.StdEncoding.EncodeToString(out.Ciphertext)[200:],
		"app.token":      d.file("app.token"), "app.refresh": d.file("app.refresh"), "owner.token": d.file("owner.token"),
		"a refreshed token": refreshed.AccessToken, "a refreshed refresh token": refreshed.RefreshToken, "the PIN": d.file("token.pin"),
	}
	d.stop()
	for where, text := range map[string]string{"the node's log": d.stderr.String(), "the audit log": auditText(t, dir)} {
		for what, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
}

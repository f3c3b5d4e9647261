//go:build !race

package systemtest

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	bigendian "encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cryptoserve/api/apitest"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/envelope"
	"cryptoserve/engine/lp"
)

// opensWith reports whether a key opens a frame without any node.
func opensWith(t *testing.T, frame, key []byte) bool {
	t.Helper()
	f, err := envelope.Parse(frame)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Open(nil, key, nil)
	return err == nil
}

// sealedWith makes a frame without any node.
func sealedWith(t *testing.T, format int, key []byte) []byte {
	t.Helper()
	p := envelope.Params{Format: format, Context: "general", KeyID: "key_general_0000000000000000", Algorithm: algs.AES256GCM}
	frame, err := envelope.Seal(nil, p, key, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// publicKeys are keys that somebody computes who knows names, ids and versions and no secret: the original's derivation, and
// ours from values that are not secret.
func publicKeys(t *testing.T, context, tenant, keyID, cluster string) [][]byte {
	t.Helper()
	var keys [][]byte
	add := func(key []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	info := bigendian.BigEndian.AppendUint32(engine.PurposeInfo("dek", tenant, context), 1)
	info = lp.Append(bigendian.BigEndian.AppendUint16(info, 256), "")
	for _, name := range []string{tenant, "default"} {
		text := context + ":" + name + ":v1:cryptoserve"
		seed := sha256.Sum256([]byte(text))
		for _, label := range []string{"", context, keyID, text, string(info)} {
			add(hkdf.Key(sha256.New, seed[:], []byte("cryptoserve-aws-kms"), label, envelope.KeyBytes))
			add(hkdf.Expand(sha256.New, seed[:], label, envelope.KeyBytes))
		}
	}
	for _, known := range []string{"", tenant, cluster, keyID, context} {
		seed := sha256.Sum256([]byte(known))
		add(seed[:], nil)
		add(hkdf.Key(sha256.New, []byte(known), nil, string(info), envelope.KeyBytes))
		add(hkdf.Expand(sha256.New, seed[:], string(info), envelope.KeyBytes))
	}
	add(hkdf.Expand(sha256.New, make([]byte, 32), string(info), envelope.KeyBytes))
	return append(keys, make([]byte, envelope.KeyBytes))
}

// keysWithoutSecret: with one of the original's key stores the key of a context followed from its name, the tenant's id and the
// version. Here the context is without a salt, and without an authenticated header, so that the key alone can tell nodes apart.
func keysWithoutSecret(t *testing.T) {
	first, second := dev(t, filepath.Join(t.TempDir(), "A")), dev(t, filepath.Join(t.TempDir(), "B"))
	frames := map[*daemon]wire.EncryptResponse{}
	apps := map[*daemon]*caller{}
	for _, d := range []*daemon{first, second} {
		owner := d.as("owner.token")
		created[wire.Context](owner, contextsPath, wire.CreateContextRequest{Name: "same", Format: 3, Derivation: "deterministic"})
		_, apps[d] = granted(owner, "same", "same")
		frames[d] = apps[d].encrypt("same", "text of "+d.dir)
		apps[d].opens("same", frames[d].Ciphertext, "text of "+d.dir)
		// An edited header alone is not why such a frame does not open.
		apps[d].opens("same", rewritten(t, frames[d].Ciphertext, `,"aad":false}`, `}`), "text of "+d.dir)

		me := ask[wire.WhoAmIResponse](owner, http.MethodGet, "/api/v1/session", nil)
		keys := publicKeys(t, "same", me.TenantID, frames[d].KeyID, stateOf(d).Cluster)
		for i, key := range keys {
			if opensWith(t, frames[d].Ciphertext, key) {
				t.Errorf("the key of %s version 1 of tenant %s can be computed: way %d", "same", me.TenantID, i)
			}
			if !opensWith(t, sealedWith(t, 3, key), key) {
				t.Fatalf("the attempt would not have noticed way %d", i)
			}
		}
	}
	a, b := frames[first], frames[second]
	closedTo(apps[second], "same", a.Ciphertext)
	closedTo(apps[second], "same", rewritten(t, a.Ciphertext, keyField(a.KeyID), keyField(b.KeyID)))
	closedTo(apps[first], "same", rewritten(t, b.Ciphertext, keyField(b.KeyID), keyField(a.KeyID)))

	// The same names, ids and versions once more: with their own secret they serve, with another they do not.
	text := "text of " + first.dir
	first.stop()
	second.stop()
	copied := copyTree(t, first.dir)
	d := dev(t, copied)
	d.with(apps[first].token).opens("same", a.Ciphertext, text)
	d.stop()
	for _, name := range []string{"token", "token.pin"} {
		if err := os.RemoveAll(filepath.Join(copied, name)); err != nil {
			t.Fatal(err)
		}
		rename(t, filepath.Join(second.dir, name), filepath.Join(copied, name))
	}
	refuses(t, []string{"dev", "--dir", copied, "--listen", "127.0.0.1:0"}, "another master key")
}

// keyIn reports whether some part of an answer is the key of a frame: any text in its JSON, as it is, of base64 or of hex.
func keyIn(t *testing.T, answer, frame []byte) bool {
	t.Helper()
	var tree any
	if err := json.Unmarshal(answer, &tree); err != nil {
		return false // openapi.yaml, which is the same on all nodes
	}
	found := false
	try := func(b []byte) {
		for i := 0; !found && len(b) <= 4096 && i+envelope.KeyBytes <= len(b); i++ {
			found = opensWith(t, frame, b[i:i+envelope.KeyBytes])
		}
	}
	var visit func(any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, member := range v {
				visit(member)
			}
		case []any:
			for _, member := range v {
				visit(member)
			}
		case string:
			try([]byte(v))
			for _, decode := range []func(string) ([]byte, error){
				base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString, hex.DecodeString,
			} {
				if raw, err := decode(v); err == nil {
					try(raw)
				}
			}
		}
	}
	visit(tree)
	return found
}

// keyBundle: a route handed out the key of a context, which outlived what its holder was allowed.
func (h *holes) keyBundle(t *testing.T) {
	created[wire.Context](h.owner, contextsPath, wire.CreateContextRequest{Name: "bundle"})
	issued, app := granted(h.owner, "holes-bundle", "bundle")
	frame := app.encrypt("bundle", "secret").Ciphertext
	app.opens("bundle", frame, "secret")

	key := ask[wire.DataKeyResponse](app, http.MethodPost, cryptoPath+"datakey", wire.DataKeyRequest{Context: "bundle"})
	next := ask[wire.DataKeyResponse](app, http.MethodPost, cryptoPath+"datakey", wire.DataKeyRequest{Context: "bundle"})
	app.opens("bundle", key.Ciphertext, string(key.Plaintext))
	if bytes.Equal(key.Plaintext, next.Plaintext) || opensWith(t, frame, key.Plaintext) || opensWith(t, key.Ciphertext, key.Plaintext) {
		t.Error("datakey gives a key that is not new and random")
	}
	answer, err := json.Marshal(key)
	if err != nil || !keyIn(t, answer, sealedWith(t, 4, key.Plaintext)) {
		t.Fatalf("a key in an answer would not have been noticed: %v", err)
	}

	for _, c := range []*caller{app, h.owner, h.user(directory.Admin)} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			c.fails(http.StatusNotFound, "not-found", method, cryptoPath+"key-bundle", map[string]string{"context": "bundle"})
		}
	}
	h.noKeyInAnyAnswer(t, app, issued.Application.ID, frame)

	ask[wire.Application](h.owner, http.MethodPost, applicationsPath+"/"+issued.Application.ID+"/disable", nil)
	for path, in := range map[string]any{
		encryptPath:            wire.EncryptRequest{Context: "bundle", Plaintext: []byte("x")},
		decryptPath:            opening("bundle", key.Ciphertext),
		cryptoPath + "rewrap":  opening("bundle", frame),
		cryptoPath + "datakey": wire.DataKeyRequest{Context: "bundle"},
		cryptoPath + "random":  wire.RandomRequest{Bytes: 16},
	} {
		app.fails(http.StatusUnauthorized, "unauthenticated", http.MethodPost, path, in)
	}
	h.with("").cannotRefresh(issued.RefreshToken)
}

// noKeyInAnyAnswer asks all that an application and an owner can ask about a context, and looks in the answers for its key.
func (h *holes) noKeyInAnyAnswer(t *testing.T, app *caller, id string, frame []byte) {
	t.Helper()
	document, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	signing := created[wire.Key](h.owner, keysPath, wire.CreateKeyRequest{Name: "bundle", Context: "bundle", Algorithm: "Ed25519"})
	with := map[string]string{
		"context": "bundle", "key": signing.Name, "application": id,
		"version": ask[wire.ContextDetail](h.owner, http.MethodGet, contextsPath+"/bundle", nil).KeyID,
	}
	item := []wire.BatchDecryptItem{{Ciphertext: frame}}
	bodies := map[string]any{
		"encrypt":        wire.EncryptRequest{Context: "bundle", Plaintext: []byte("x")},
		"decrypt":        opening("bundle", frame),
		"rewrap":         opening("bundle", frame),
		"encryptBatch":   wire.BatchEncryptRequest{Context: "bundle", Items: []wire.BatchEncryptItem{{Plaintext: []byte("x")}}},
		"decryptBatch":   wire.BatchDecryptRequest{Context: "bundle", Items: item},
		"rewrapBatch":    wire.BatchDecryptRequest{Context: "bundle", Items: item},
		"dataKey":        wire.DataKeyRequest{Context: "bundle"},
		"dataKeyWrapped": wire.DataKeyRequest{Context: "bundle"},
		"sign":           wire.SignRequest{Key: "bundle", Message: []byte("x")},
		"random":         wire.RandomRequest{Bytes: 64},
		"hash":           wire.HashRequest{Data: []byte("bundle")},
		"createImport":   wire.CreateImportRequest{},
		"testPolicy":     wire.PolicyTestRequest{Context: "bundle", Operation: "crypto.encrypt"},
		"rotateContext":  nil,
	}
	callers := map[string]*caller{"application": app, "owner": h.owner}
	answered := map[string]bool{}
	for _, op := range document.Operations() {
		body, listed := bodies[op.ID]
		path := filled(op.Path, with)
		if op.Anonymous || path == "" || op.Method != http.MethodGet && !listed {
			continue
		}
		for role, c := range callers {
			if !slices.Contains(op.Roles, role) {
				continue
			}
			status, _, answer := c.do(op.Method, path, body)
			if status >= 300 {
				continue
			}
			answered[op.ID] = true
			if keyIn(t, answer, frame) {
				t.Errorf("%s %s gives the %s the key of the context", op.Method, path, role)
			}
		}
	}
	for id := range bodies {
		if !answered[id] {
			t.Errorf("%s did not answer", id)
		}
	}
	if len(answered) < 30 {
		t.Errorf("only %d operations answered", len(answered))
	}
}

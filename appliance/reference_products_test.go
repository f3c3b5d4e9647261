package appliance_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/envelope"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/kem"
	kmac "cryptoserve/engine/mac"
	"cryptoserve/engine/password"
	"cryptoserve/engine/seal"
	"cryptoserve/engine/secret"
	"cryptoserve/engine/signature"
	"cryptoserve/engine/stream"
)

var background = context.Background()

var errProduct = errors.New("the product has another answer")

// products do with the examples what the product does. TestReferenceDerivations does it for those that need a token.
var products = map[string]func(*example){
	"purpose": func(e *example) {
		var parts []string
		if e.has("part") {
			parts = []string{e.text("part")}
		}
		e.want("info", engine.PurposeInfo(e.text("purpose"), parts...))
	},
	"sealed-key": func(e *example) {
		key := must(seal.New(secret.Copy(e.bytes("key-seal"))))
		e.want("private", must(key.Open(nil, e.bytes("aad"), e.bytes("blob"))))
	},
	"format-4": func(e *example) {
		root := "dek"
		if e.has("secret") {
			root = "secret"
		}
		f := must(envelope.Parse(e.bytes("frame")))
		e.want("plaintext", must(f.Open(nil, e.bytes(root), e.bytes("aad"))))
	},
	"format-4-stream": func(e *example) {
		// The document shows the first segment in part only: the reading makes the whole, and compares its hash.
		prefix, body, _ := readStream(e)
		f, _, err := envelope.ParseHeader(prefix)
		must(0, err)
		key := must(f.StreamKey(e.bytes("dek")))
		r := must(stream.NewReader(bytes.NewReader(body), key, join(prefix, e.bytes("aad"))))
		if plaintext := must(io.ReadAll(r)); len(plaintext) != e.number("plaintext-length") || plaintext[250] != 250 || plaintext[251] != 0 {
			panic(errProduct)
		}
	},
	"formats-1-to-3": func(e *example) {
		f := must(envelope.Parse(e.bytes("frame")))
		e.want("plaintext", must(f.OpenImported(nil, e.bytes("dek"), e.optional("aad"))))
		if _, err := f.Open(nil, e.bytes("dek"), e.optional("aad")); (err == nil) != (e.number("format") == 3) {
			panic(err)
		}
	},
	"legacy-derivation": func(e *example) {
		f := must(envelope.Parse(e.bytes("frame")))
		e.want("plaintext", must(f.OpenImported(nil, e.bytes("dek"), e.bytes("aad"))))
	},
	"hkdf": func(e *example) {
		e.want("output", derived(e, algs.HKDFSHA256, &kdf.Params{Salt: e.bytes("salt"), Info: e.bytes("info")}))
	},
	"kbkdf": func(e *example) {
		e.want("output", derived(e, algs.KBKDFHMACSHA256, &kdf.Params{Label: e.bytes("label"), Context: e.bytes("context")}))
	},
	"password-string": func(e *example) {
		if got := must(password.Verify(background, e.text("phc"), e.bytes("password"))); !got.Valid || got.NeedsRehash {
			panic(errProduct)
		}
	},
	"kmac128": func(e *example) {
		e.want("tag", must(kmac.Sum(algs.KMAC128, e.bytes("key"), e.bytes("message"), kmac.Options{OutputBytes: e.number("bytes")})))
	},
	"ecies": func(e *example) {
		key := must(kem.ParsePrivate(algs.Name(e.text("algorithm")), e.bytes("private")))
		e.want("plaintext", must(key.Decrypt(e.bytes("ciphertext"), e.bytes("info"), e.bytes("aad"))))
	},
	"agreement": func(e *example) {
		key := must(kem.ParsePrivate(algs.X25519, e.bytes("private")))
		e.want("shared-secret", must(key.Agree(e.bytes("peer"))))
	},
	"hybrid-signature": func(e *example) {
		// The Ed25519 half of a hybrid signature of the product is the one that the document shows.
		seeds := join(e.bytes("ed25519-seed"), make([]byte, 32))
		key := must(signature.ParsePrivate(algs.Ed25519MLDSA65, seeds))
		signed := must(key.Sign(e.bytes("message"), signature.Options{Context: e.bytes("context")}))
		e.want("ed25519-half", signed[:64])
	},
	"jws": func(e *example) {
		key := must(signature.ParsePrivate(algs.Ed25519, e.bytes("ed25519-seed")))
		kid := strings.TrimSuffix(strings.TrimPrefix(e.text("header"), `{"alg":"EdDSA","kid":"`), `"}`)
		e.want("jws", []byte(must(signature.SignJWS(key, "", kid, e.bytes("message")))))
	},
	"audit-record": func(e *example) { e.want("line", []byte(auditLine(e.text("line")))) },
}

func derived(e *example, name algs.Name, p *kdf.Params) []byte {
	p.Secret, p.OutputBytes = e.bytes("secret"), e.number("bytes")
	return must(kdf.Derive(background, name, p))
}

// auditLine has a log write the record of the document's line, and returns it with that line's place in the chain, which a
// log of one record does not have.
func auditLine(shown string) string {
	dir := must(os.MkdirTemp("", "reference"))
	defer func() { _ = os.RemoveAll(dir) }()
	l := must(audit.Open(audit.Config{Dir: dir, Node: "node-1", SegmentBytes: 4 << 20}))
	must(l.Append(&audit.Record{
		Time: time.Date(2026, 1, 2, 12, 0, 0, 250_000_000, time.UTC), RequestID: "req_0011223344556677", Tenant: "tenant_0011223344556677",
		Subject: "app_billing_8899aabbccddeeff", Kind: "application", Source: "192.0.2.7:50112", Action: "crypto.decrypt-batch",
		Context: "user-pii", In: 640, Out: 48, Result: audit.Success, Latency: 412 * time.Microsecond,
		Items: []audit.Item{
			{KeyID: "key_user-pii_0011223344556677", In: 320, Out: 48},
			{In: 320, Code: "decrypt-failed", Cause: "tag"},
		},
	}))
	must(0, l.Close())
	files := must(filepath.Glob(filepath.Join(dir, "audit-0*.log")))
	lines := strings.Split(string(must(os.ReadFile(files[0]))), "\n")
	_, written, _ := strings.Cut(lines[1], `,"time":`)
	written, _, _ = strings.Cut(written, `,"hash":`)
	before, _, _ := strings.Cut(shown, `,"time":`)
	return before + `,"time":` + written + shown[strings.LastIndex(shown, `,"hash":`):]
}

package api_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/keys"
)

// useCase is a request with every field that its route takes, what the engine is asked for then, and the answer.
type useCase struct {
	method, path string
	body         any // a wire type, or nil
	got          any // nil where nothing is asked for
	status       int
	location     string
	answer       any // a wire type
}

func newYearText(seconds string) string { return "2026-01-01T00:00:" + seconds + "Z" }

// useCases returns one for each operation of the document that the stand-in has a fixed result for, by operation.
func useCases(f *fixture) map[string]useCase {
	cases := keyAndDataCases(f)
	for _, area := range areas {
		of, _ := area(f)
		maps.Copy(cases, of)
	}
	return cases
}

// areas are the parts of the API that have a file of use cases each.
var areas = []func(*fixture) (map[string]useCase, map[string]map[int]fault.Kind){
	tenantCases, applicationCases, accountCases, policyCases, lifecycleCases, settingsCases, clusterCases, backupCases,
}

func keyAndDataCases(f *fixture) map[string]useCase {
	const c = "/api/v1/crypto/"
	b := func(s string) []byte { return []byte(s) }
	signRequest := wire.SignRequest{
		Key: "invoices", Message: b("m"), Prehashed: true, Hash: "SHA-256", SignatureFormat: "raw", SignatureContext: b("c"),
	}
	engineSign := engine.SignRequest{
		Key: "invoices", Message: b("m"), Prehashed: true, Hash: "SHA-256", Format: "raw", Context: b("c"),
	}
	macRequest := wire.MACRequest{Key: "invoices", Message: b("m"), Customization: b("c"), OutputBytes: 20}
	engineMAC := engine.MACRequest{Key: "invoices", Message: b("m"), Customization: b("c"), OutputBytes: 20}
	newKey := wire.CreateKeyRequest{
		Name: "invoices", Context: "user-pii", Algorithm: "Ed25519", Purpose: "sign", Protection: "hsm", Description: "d",
	}
	keySpec := engine.KeySpec{
		Name: "invoices", Context: "user-pii", Algorithm: "Ed25519", Purpose: keys.PurposeSign, Protection: keys.Token, Description: "d",
	}
	key := wire.Key{
		Name: "invoices", Context: "user-pii", Description: "of invoices", Purpose: "sign", Algorithm: "Ed25519", Protection: "host",
		Status: "active", KeyID: secondKeyID, CreatedAt: newYearText("00"),
		FIPS: wire.KeyFIPS{ApprovedAlgorithm: "yes", RunsIn: "module"},
		Versions: []wire.KeyVersion{
			{KeyID: secondKeyID, Version: 2, State: "active", CreatedAt: newYearText("01"), PublicKey: f.engine.app.PublicKey},
			{KeyID: keyID, Version: 1, State: "deactivated", CreatedAt: newYearText("00"), Imported: true},
		},
	}
	disabled := key
	disabled.Status, disabled.Protection, disabled.FIPS.RunsIn, disabled.Versions = "disabled", "hsm", "token", nil
	const keyPath, imported = "/api/v1/keys/invoices", "/api/v1/key-imports/import_0123456789abcdef"
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(f.engine.app.PublicKey))
	if err != nil {
		panic(err)
	}

	return map[string]useCase{
		"rewrap": {
			"POST", c + "rewrap", wire.RewrapRequest{Ciphertext: b("c"), Context: "user-pii", AssociatedData: b("a")},
			engine.RewrapRequest{Ciphertext: b("c"), Context: "user-pii", AssociatedData: b("a")}, 200, "",
			wire.EncryptResponse{Ciphertext: b("rewrapped"), Algorithm: "AES-256-GCM", KeyID: keyID, Format: 4, Warnings: warned},
		},
		"dataKey": {
			"POST", c + "datakey", wire.DataKeyRequest{Context: "user-pii", AssociatedData: b("a"), Bytes: 16},
			engine.DataKeyRequest{Context: "user-pii", AssociatedData: b("a"), Bytes: 16}, 200, "",
			wire.DataKeyResponse{
				Plaintext: b("secret"), Ciphertext: b("wrapped"), Algorithm: "AES-256-GCM", KeyID: keyID, Format: 4, Warnings: warned,
			},
		},
		"dataKeyWrapped": {
			"POST", c + "datakey/wrapped", wire.DataKeyRequest{Context: "user-pii", AssociatedData: b("a"), Bytes: 16},
			engine.DataKeyRequest{Context: "user-pii", AssociatedData: b("a"), Bytes: 16}, 200, "",
			wire.DataKeyResponse{Ciphertext: b("wrapped"), Algorithm: "AES-256-GCM", KeyID: keyID, Format: 4, Warnings: warned},
		},
		"sign": {
			"POST", c + "sign", signRequest, engineSign, 200, "",
			wire.SignResponse{Signature: b("signature"), KeyID: keyID, Version: 2, Algorithm: "Ed25519", Warnings: warned},
		},
		"verify": {
			"POST", c + "verify", wire.VerifyRequest{SignRequest: signRequest, Signature: b("s"), JWS: "j", KeyID: keyID},
			engine.VerifyRequest{SignRequest: engineSign, Signature: b("s"), JWS: "j", KeyID: keyID}, 200, "",
			wire.VerifyResponse{Valid: true, KeyID: keyID, Algorithm: "Ed25519", Warnings: warned},
		},
		"mac": {
			"POST", c + "mac", macRequest, engineMAC, 200, "",
			wire.MACResponse{MAC: b("mac"), KeyID: keyID, Version: 2, Algorithm: "KMAC128", Warnings: warned},
		},
		"verifyMAC": {
			"POST", c + "mac/verify", wire.MACVerifyRequest{MACRequest: macRequest, MAC: b("mac"), KeyID: keyID},
			engine.MACVerifyRequest{MACRequest: engineMAC, MAC: b("mac"), KeyID: keyID}, 200, "",
			wire.VerifyResponse{Algorithm: "KMAC128"},
		},
		"encapsulate": {
			"POST", c + "kem/encapsulate", wire.EncapsulateRequest{Key: "invoices"}, "invoices", 200, "",
			wire.EncapsulateResponse{
				Ciphertext: b("ciphertext"), SharedSecret: b("secret"), KeyID: keyID, Algorithm: "ML-KEM-768", Warnings: warned,
			},
		},
		"decapsulate": {
			"POST", c + "kem/decapsulate", wire.DecapsulateRequest{Key: "invoices", KeyID: keyID, Ciphertext: b("c")},
			[]any{engine.KeyUse{Key: "invoices", KeyID: keyID}, "c"}, 200, "",
			wire.DecapsulateResponse{SharedSecret: b("secret"), KeyID: keyID, Algorithm: "ML-KEM-768", Warnings: warned},
		},
		"agree": {
			"POST", c + "agree", wire.AgreeRequest{
				Key: "invoices", KeyID: keyID, PeerPublicKey: b("p"), PeerPublicKeyPEM: "P", Salt: b("s"), Info: b("i"), Bytes: 48,
			},
			engine.AgreeRequest{
				KeyUse: engine.KeyUse{Key: "invoices", KeyID: keyID}, Peer: b("p"), PeerPEM: "P", Salt: b("s"), Info: b("i"), Bytes: 48,
			}, 200, "",
			wire.AgreeResponse{DerivedKey: b("secret"), KeyID: keyID, Algorithm: "X25519", Warnings: warned},
		},
		"keyEncrypt": {
			"POST", c + "key/encrypt", wire.KeyEncryptRequest{Key: "invoices", Plaintext: b("p"), Info: b("i"), AssociatedData: b("a")},
			engine.KeyEncryptRequest{Key: "invoices", Plaintext: b("p"), Info: b("i"), AssociatedData: b("a")}, 200, "",
			wire.KeyEncryptResponse{Ciphertext: b("ciphertext"), KeyID: keyID, Algorithm: "RSA-OAEP-2048", Warnings: warned},
		},
		"keyDecrypt": {
			"POST", c + "key/decrypt",
			wire.KeyDecryptRequest{Key: "invoices", KeyID: keyID, Ciphertext: b("c"), Info: b("i"), AssociatedData: b("a")},
			engine.KeyDecryptRequest{Key: "invoices", KeyID: keyID, Ciphertext: b("c"), Info: b("i"), AssociatedData: b("a")}, 200, "",
			wire.KeyDecryptResponse{Plaintext: b("secret"), KeyID: keyID, Algorithm: "RSA-OAEP-2048", Warnings: warned},
		},
		"hash": {
			"POST", c + "hash", wire.HashRequest{Data: b("d"), Algorithm: "SHAKE128", OutputBytes: 7}, []any{"SHAKE128", "d", 7}, 200, "",
			wire.HashResponse{Digest: []byte{0xab, 0xcd}, Hex: "abcd", Algorithm: "SHA-256", Warnings: warned},
		},
		"deriveKey": {
			"POST", c + "kdf", wire.KDFRequest{
				Algorithm: "scrypt", Secret: b("s"), Salt: b("t"), Info: b("i"), Label: b("l"), Context: b("c"), OutputBytes: 9,
				Cost: &wire.KDFCost{Iterations: 1, MemoryKiB: 2, Time: 3, Parallelism: 4, N: 5, R: 6, P: 7},
			},
			[]any{"scrypt", kdf.Params{
				Secret: b("s"), Salt: b("t"), Info: b("i"), Label: b("l"), Context: b("c"), OutputBytes: 9,
				Cost: kdf.Cost{Iterations: 1, MemoryKiB: 2, Time: 3, Parallelism: 4, N: 5, R: 6, P: 7},
			}}, 200, "",
			wire.KDFResponse{Key: b("secret"), Algorithm: "Argon2id", Warnings: warned},
		},
		"random": {
			"POST", c + "random", wire.RandomRequest{Bytes: 6}, 6, 200, "", wire.RandomResponse{Random: b("random")},
		},
		"hashPassword": {
			"POST", c + "password/hash", wire.PasswordHashRequest{Password: "pässword", Algorithm: "scrypt"}, []any{"scrypt", "pässword"},
			200, "", wire.PasswordHashResponse{Hash: "$argon2id$", Algorithm: "Argon2id", Warnings: warned},
		},
		"verifyPassword": {
			"POST", c + "password/verify", wire.PasswordVerifyRequest{Password: "pässword", Hash: "$scrypt$"},
			[]any{"$scrypt$", "pässword"}, 200, "",
			wire.PasswordVerifyResponse{Valid: true, NeedsRehash: true, Algorithm: "scrypt", Warnings: warned},
		},
		"algorithms": {"GET", "/api/v1/algorithms", nil, nil, 200, "", wire.AlgorithmsResponse{Algorithms: []wire.Algorithm{
			{
				Name: "AES-256-GCM", Class: "aead", KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-38D",
				ApprovedAlgorithm: "yes", RunsIn: "module", ValidatedModule: true, TokenKeys: true, Protect: true, Process: true,
				MaxPlaintext: (1<<32 - 2) * 16,
			},
			{
				Name: "BLAKE2b-256", Class: "hash", SecurityBits: 128, QuantumSafe: true, Source: "RFC 7693", ApprovedAlgorithm: "no",
				RunsIn: "library",
			},
		}}},
		"fips": {"GET", "/api/v1/system/fips", nil, nil, 200, "", wire.FIPSResponse{
			Mode: "preferred", Module: "v1.0.0", ModuleEnabled: true, ModuleEnforced: true, ValidatedModule: true, ApprovedAlgorithms: 2,
			Algorithms: 3, OutsideModule: []string{"AES-256-CCM"},
			Token: "the appliance cannot tell whether the HSM is a validated module; its maker's certificate and the settings it asks for say so",
		}},
		"createContext": {
			"POST", "/api/v1/contexts", wire.CreateContextRequest{
				Name: "new", Description: "d", Algorithm: "AES-128-GCM", Format: 3, Derivation: "deterministic",
				AlgorithmPolicy: &wire.AlgorithmPolicy{
					Enforcement: "warn", AllowedAlgorithms: []string{"AES-192-GCM", "AES-256-CCM"}, MinimumBits: 128, RequireQuantumSafe: true,
					AllowedCiphers: []string{"AES"}, AllowedModes: []string{"gcm"},
				},
				Layers: &wire.Layers{DataIdentity: wire.DataIdentity{Category: "general", Sensitivity: "low"}}, RotationDays: pointer(9),
				RotateAfter: 10, SelfService: true, Consistency: "strict",
			},
			engine.ContextSpec{
				Name: "new", Description: "d", Algorithm: algs.AES128GCM, Format: 3, Derivation: directory.Deterministic,
				Enforcement: directory.EnforceWarn, Allowed: []algs.Name{algs.AES192GCM, algs.AES256CCM}, MinimumBits: 128, QuantumSafe: true,
				Ciphers: []string{"AES"}, Modes: []string{"gcm"}, RotationDays: pointer(uint16(9)), RotateAfter: 10, SelfService: true,
				Consistency: directory.Strict,
				Layers:      &classify.Layers{DataIdentity: classify.DataIdentity{Category: classify.GeneralData, Sensitivity: classify.SensitivityLow}},
			}, 201, "/api/v1/contexts/new",
			wire.Context{
				Name: "new", Algorithm: "AES-256-GCM", Format: 4, Derivation: "salted", Status: "active", Consistency: "lease",
				KeyID: "key_new_0123456789abcdef", Version: 1, CreatedAt: newYearText("00"), AlgorithmPolicy: wire.AlgorithmPolicy{
					Enforcement: "warn", AllowedAlgorithms: []string{"AES-128-GCM"}, MinimumBits: 128, RequireQuantumSafe: true,
				},
			},
		},
		"listKeys":   {"GET", "/api/v1/keys", nil, nil, 200, "", wire.KeysResponse{Keys: []wire.Key{key, disabled}}},
		"createKey":  {"POST", "/api/v1/keys", newKey, keySpec, 201, keyPath, key},
		"readKey":    {"GET", keyPath, nil, "invoices", 200, "", key},
		"rotateKey":  {"POST", keyPath + "/rotate", struct{}{}, "invoices", 200, "", key},
		"disableKey": {"POST", keyPath + "/disable", struct{}{}, []any{"invoices", true}, 200, "", key},
		"enableKey":  {"POST", keyPath + "/enable", struct{}{}, []any{"invoices", false}, 200, "", key},
		"publicKey": {"GET", keyPath + "/public?version=2", nil, "invoices", 200, "", wire.PublicKeyResponse{
			KeyID: secondKeyID, Version: 2, Algorithm: "Ed25519", PublicKey: f.engine.app.PublicKey,
			PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
			JWK: map[string]any{
				"kty": "OKP", "crv": "Ed25519", "kid": secondKeyID, "use": "sig", "x": base64.RawURLEncoding.EncodeToString(f.engine.app.PublicKey),
			},
		}},
		"createImport": {
			"POST", "/api/v1/key-imports", wire.CreateImportRequest{Protection: "hsm"}, keys.Token, 201, imported,
			wire.ImportResponse{
				ImportID: "import_0123456789abcdef", Protection: "hsm", OAEPHash: "SHA-256", ExpiresAt: newYearText("00"),
				PublicKey: "-----BEGIN PUBLIC KEY-----\ncHVibGlj\n-----END PUBLIC KEY-----\n",
			},
		},
		"importKey": {
			"POST", imported, wire.ImportKeyRequest{CreateKeyRequest: newKey, WrappedKey: b("w"), PublicKey: "P"},
			[]any{keySpec, engine.ImportRequest{Import: "import_0123456789abcdef", Wrapped: b("w"), Public: "P"}}, 201, keyPath, key,
		},
		"importLegacy": {
			"POST", "/api/v1/legacy-imports", wire.LegacyImportRequest{
				ImportID: "import_0123456789abcdef", WrappedMaster: b("w"), Master: 3,
				Keys: []wire.LegacyVersion{
					{KeyID: "k1", Context: "user-pii", Tenant: "t", Version: 1}, {KeyID: "k2", Context: "user-pii", Version: 2},
				},
				HybridKeys: []wire.LegacyPair{{
					KeyID: "k3", Context: "user-pii", Algorithm: "AES-256-GCM+ML-KEM-768", Nonce: b("n"), EncryptedPrivateKey: b("e"), WrapInfo: "i",
				}},
			},
			engine.LegacyRequest{
				Import: "import_0123456789abcdef", Wrapped: b("w"), Master: 3,
				Versions: []engine.LegacyVersion{
					{KeyID: "k1", Context: "user-pii", Tenant: "t", Number: 1}, {KeyID: "k2", Context: "user-pii", Number: 2},
				},
				Pairs: []engine.LegacyPair{{
					KeyID: "k3", Context: "user-pii", Algorithm: "AES-256-GCM+ML-KEM-768", Nonce: b("n"), Encrypted: b("e"), WrapInfo: "i",
				}},
			}, 201, "",
			wire.LegacyImportResponse{Master: 1, Keys: 2},
		},
	}
}

// text returns the body of a use case as it is sent.
func (c *useCase) text(tb testing.TB) string {
	tb.Helper()
	if c.body == nil {
		return ""
	}
	body, err := json.Marshal(c.body)
	if err != nil {
		tb.Fatal(err)
	}
	return string(body)
}

// TestUseCases: each field of a request reaches the engine, and its result the caller.
func TestUseCases(t *testing.T) {
	f := newFixture(t)
	for id, c := range useCases(f) {
		t.Run(id, func(t *testing.T) {
			a := f.do(t, c.method, c.path, c.text(t))
			if a.StatusCode != c.status || a.Header.Get("Location") != c.location {
				t.Fatalf("%s, Location %q: %s", a.Status, a.Header.Get("Location"), a.body)
			}
			if !reflect.DeepEqual(f.engine.got, c.got) {
				t.Errorf("the engine was asked for %+v, want %+v", f.engine.got, c.got)
			}
			want, err := json.Marshal(c.answer, json.Deterministic(true))
			if err != nil {
				t.Fatal(err)
			}
			if string(a.body) != string(want) {
				t.Errorf("the answer is\n%s, want\n%s", a.body, want)
			}
		})
	}
}

// TestEachOperationHasAUseCase but those that tests of their own are about.
func TestEachOperationHasAUseCase(t *testing.T) {
	cases := useCases(newFixture(t))
	own := map[string]bool{
		"encrypt": true, "decrypt": true, "encryptBatch": true, "decryptBatch": true, "rewrapBatch": true, "refresh": true,
		"listContexts": true, "rotateContext": true, "live": true, "ready": true, "state": true, "openapi": true,
		"registerApplication": true, "createTenant": true, "inviteOwner": true, "readBackup": true, // TestDownloadBackup
	}
	for id := range accountOperations() {
		own[id] = true
	}
	for _, op := range loadDocument(t).Operations() {
		if _, ok := cases[op.ID]; ok == own[op.ID] {
			t.Errorf("%s: use case %v", op.ID, ok)
		}
	}
}

// TestOptionalParts leaves out what may be left out.
func TestOptionalParts(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		path, body string
		got        any
	}{
		"sign for a JWS": {
			"/api/v1/crypto/sign", `{"key":"invoices","message":"","signature_format":"jws"}`,
			engine.SignRequest{Key: "invoices", Message: []byte{}, Format: "jws"},
		},
		"no cost":           {"/api/v1/crypto/kdf", `{"algorithm":"a","secret":"","output_bytes":1}`, []any{"a", kdf.Params{Secret: []byte{}, OutputBytes: 1}}},
		"empty cost":        {"/api/v1/crypto/kdf", `{"algorithm":"a","secret":"","output_bytes":1,"cost":{}}`, []any{"a", kdf.Params{Secret: []byte{}, OutputBytes: 1}}},
		"context by name":   {"/api/v1/contexts", `{"name":"new"}`, engine.ContextSpec{Name: "new", Derivation: directory.Salted}},
		"policy in part":    {"/api/v1/contexts", `{"name":"new","algorithm_policy":{"require_quantum_safe":true}}`, engine.ContextSpec{Name: "new", Derivation: directory.Salted, QuantumSafe: true}},
		"key by three":      {"/api/v1/keys", `{"name":"k","context":"user-pii","algorithm":"a"}`, engine.KeySpec{Name: "k", Context: "user-pii", Algorithm: "a"}},
		"import for host":   {"/api/v1/key-imports", `{}`, keys.Host},
		"import, no body":   {"/api/v1/key-imports", ``, keys.Host},
		"rotate, no body":   {"/api/v1/keys/invoices/rotate", ``, "invoices"},
		"nothing to import": {"/api/v1/legacy-imports", `{}`, engine.LegacyRequest{}},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.do(t, "POST", c.path, c.body)
			if a.StatusCode >= 300 || !reflect.DeepEqual(f.engine.got, c.got) {
				t.Errorf("%s: the engine was asked for %+v, want %+v", a.Status, f.engine.got, c.got)
			}
		})
	}
}

// TestPublicKey asks for versions in ways that are right and wrong.
func TestPublicKey(t *testing.T) {
	f := newFixture(t)
	for query, status := range map[string]int{
		"": 200, "?version=2": 200,
		"?version=1": 404, "?version=3": 404, "?version=4294967295": 404, // the first has no public half
		"?version=": 400, "?version=0": 400, "?version=02": 400, "?version=+2": 400, "?version=4294967296": 400, "?version=2&version=2": 400,
		"?version=2&a=b": 400, "?Version=2": 400, "?a": 400, "?version=%zz": 400,
	} {
		a := f.do(t, http.MethodGet, "/api/v1/keys/invoices/public"+query, "")
		if a.StatusCode != status {
			t.Errorf("%q: %s: %s", query, a.Status, a.body)
		}
		if status == 200 && !strings.Contains(string(a.body), `"version":2,`) {
			t.Errorf("%q: %s", query, a.body)
		}
	}
}

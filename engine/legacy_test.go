package engine_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/vectortest"
)

// original is what a deployment of the public original has: testdata/original.json.
type original struct {
	Master      string `json:"master"`
	Salt        string `json:"salt"`
	Ciphertexts []struct {
		ID        string         `json:"id"`
		Format    int            `json:"format"`
		Algorithm string         `json:"alg"`
		Mode      string         `json:"mode"`
		Context   string         `json:"context"`
		Tenant    string         `json:"tenant"`
		Version   uint32         `json:"key_version"`
		KeyID     string         `json:"key_id"`
		AAD       vectortest.Hex `json:"aad_hex"`
		Plaintext vectortest.Hex `json:"plaintext_hex"`
		Packed    []byte         `json:"packed_b64"`
	} `json:"ciphertexts"`
	Negative []struct {
		ID      string         `json:"id"`
		Context string         `json:"context"`
		AAD     vectortest.Hex `json:"aad_hex"`
		Packed  []byte         `json:"packed_b64"`
	} `json:"negative"`
	Pairs []struct {
		KeyID     string         `json:"key_id"`
		Algorithm string         `json:"algorithm"`
		Context   string         `json:"context"`
		Nonce     vectortest.Hex `json:"nonce_hex"`
		Encrypted []byte         `json:"encrypted_private_key_b64"`
	} `json:"pairs"`
	Hybrid []struct {
		ID        string         `json:"id"`
		KeyID     string         `json:"key_id"`
		AAD       vectortest.Hex `json:"aad_hex"`
		Plaintext vectortest.Hex `json:"plaintext_hex"`
		Packed    []byte         `json:"packed_b64"`
	} `json:"hybrid"`
}

func readOriginal(t *testing.T) original {
	t.Helper()
	text, err := os.ReadFile("testdata/original.json")
	if err != nil {
		t.Fatal(err)
	}
	var o original
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// request imports everything of the deployment that the ciphertexts name.
func (o *original) request() engine.LegacyRequest {
	var in engine.LegacyRequest
	seen := map[string]bool{}
	for _, c := range o.Ciphertexts {
		if !seen[c.KeyID] {
			seen[c.KeyID] = true
			in.Versions = append(in.Versions, engine.LegacyVersion{KeyID: c.KeyID, Context: c.Context, Tenant: c.Tenant, Number: c.Version})
		}
	}
	for _, p := range o.Pairs {
		in.Pairs = append(in.Pairs, engine.LegacyPair{
			KeyID: p.KeyID, Context: p.Context, Algorithm: p.Algorithm, Nonce: p.Nonce, Encrypted: p.Encrypted,
		})
	}
	return in
}

// prk is HKDF-Extract of the master string: what is wrapped and imported (RFC 5869 section 2.2).
func (o *original) prk() []byte {
	h := hmac.New(sha256.New, []byte(o.Salt))
	h.Write([]byte(o.Master))
	return h.Sum(nil)
}

// TestVectorsOriginalImport imports the deployment of the sample, whose blobs then open, bound to tenant and context by
// record, and can be rewrapped.
func TestVectorsOriginalImport(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	o := readOriginal(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "general"})
	w.app = w.newApplication(w.tenant, "all", "general", "user-pii", "payment-data")

	pair, err := w.engine.CreateImport(ctx, w.owner(), keys.Token)
	if err != nil {
		t.Fatal(err)
	}
	in := o.request()
	in.Import, in.Wrapped = pair.ID, wrapFor(t, pair, o.prk())
	out, err := w.engine.ImportLegacy(ctx, w.owner(), &in)
	if err != nil || out.Keys != len(in.Versions)+len(in.Pairs) {
		t.Fatalf("%+v, %v", out, err)
	}

	account := vectortest.New(t, "formats 1 to 3", "the public original, August 2026")
	for _, c := range o.Ciphertexts {
		got, err := w.decrypt(c.Context, c.Packed, string(c.AAD))
		if err == nil && string(got.Plaintext) != string(c.Plaintext) {
			err = errors.New("another plaintext")
		}
		if err == nil && (!got.Rewrap || got.KeyID != c.KeyID) {
			err = errors.New("not said to be old, or of another key")
		}
		account.Check(c.ID, true, err)
	}
	for _, c := range o.Negative {
		_, err := w.decrypt(c.Context, c.Packed, string(c.AAD))
		account.Check(c.ID, false, err)
		if !errors.Is(err, fault.DecryptFailed) && !errors.Is(err, fault.ContextMismatch) {
			t.Errorf("%s: %v", c.ID, err)
		}
	}
	hybrid := vectortest.New(t, "hybrid frames", "the public original, August 2026")
	for _, c := range o.Hybrid {
		got, err := w.decrypt("user-pii", c.Packed, string(c.AAD))
		if err == nil && string(got.Plaintext) != string(c.Plaintext) {
			err = errors.New("another plaintext")
		}
		hybrid.Check(c.ID, true, err)
		_, err = w.decrypt("general", c.Packed, string(c.AAD))
		hybrid.Check(c.ID+" in another context", false, err)
	}

	first := o.Ciphertexts[0]
	again, err := w.engine.Rewrap(ctx, w.call(), &engine.RewrapRequest{Context: first.Context, Ciphertext: first.Packed, AssociatedData: first.AAD})
	if err != nil || again.Format != 4 {
		t.Fatalf("rewrap: %+v, %v", again, err)
	}
	if got, err := w.decrypt(first.Context, again.Ciphertext, string(first.AAD)); err != nil || string(got.Plaintext) != string(first.Plaintext) {
		t.Fatalf("after the rewrap: %v", err)
	}

	t.Run("another tenant opens nothing", func(t *testing.T) {
		other := w.newTenant("second")
		for _, name := range []string{"user-pii", "general", "payment-data"} {
			w.newContext(other, engine.ContextSpec{Name: name})
		}
		neighbour := callOf(subject(w.newApplication(other, "neighbour", "user-pii", "general", "payment-data")))
		for _, c := range o.Ciphertexts {
			_, err := w.engine.Decrypt(ctx, neighbour, &engine.DecryptRequest{Context: c.Context, Ciphertext: c.Packed, AssociatedData: c.AAD})
			if !errors.Is(err, fault.DecryptFailed) {
				t.Fatalf("%s: %v", c.ID, err)
			}
		}
	})
	t.Run("more keys of a master known already", func(t *testing.T) {
		more := &engine.LegacyRequest{Master: out.Master, Versions: []engine.LegacyVersion{
			{KeyID: "key_general_00000009", Context: "general", Tenant: o.Ciphertexts[0].Tenant, Number: 9},
		}}
		if got, err := w.engine.ImportLegacy(ctx, w.owner(), more); err != nil || got.Master != out.Master || got.Keys != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
	})
	t.Run("the same master again", func(t *testing.T) {
		pair, err := w.engine.CreateImport(ctx, w.owner(), keys.Token)
		if err != nil {
			t.Fatal(err)
		}
		repeated := o.request()
		repeated.Import, repeated.Wrapped = pair.ID, wrapFor(t, pair, o.prk())
		got, err := w.engine.ImportLegacy(ctx, w.owner(), &repeated)
		if err != nil || got.Master != out.Master {
			t.Fatalf("%+v, %v", got, err)
		}
	})
	t.Run("another master beside it", func(t *testing.T) {
		pair, err := w.engine.CreateImport(ctx, w.owner(), keys.Token)
		if err != nil {
			t.Fatal(err)
		}
		second := engine.LegacyRequest{Import: pair.ID, Wrapped: wrapFor(t, pair, make([]byte, 32))}
		got, err := w.engine.ImportLegacy(ctx, w.owner(), &second)
		if err != nil || got.Master == out.Master {
			t.Fatalf("%+v, %v", got, err)
		}
		if got, err := w.decrypt(first.Context, first.Packed, string(first.AAD)); err != nil || string(got.Plaintext) != string(first.Plaintext) {
			t.Fatalf("the first master serves no longer: %v", err)
		}
	})
}

func TestLegacyImportRefuses(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	o := readOriginal(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "general"})
	pair, err := w.engine.CreateImport(ctx, w.owner(), keys.Token)
	if err != nil {
		t.Fatal(err)
	}
	host, err := w.engine.CreateImport(ctx, w.owner(), keys.Host)
	if err != nil {
		t.Fatal(err)
	}
	good := func() *engine.LegacyRequest {
		in := o.request()
		in.Import, in.Wrapped = pair.ID, wrapFor(t, pair, o.prk())
		return &in
	}
	for name, c := range map[string]struct {
		change func(*engine.LegacyRequest)
		want   fault.Kind
	}{
		"no such import":       {func(in *engine.LegacyRequest) { in.Import = "import_0000000000000000" }, fault.NotFound},
		"an import of a node":  {func(in *engine.LegacyRequest) { in.Import, in.Wrapped = host.ID, wrapFor(t, host, o.prk()) }, fault.Conflict},
		"no such master":       {func(in *engine.LegacyRequest) { in.Import, in.Wrapped, in.Master = "", nil, 77 }, fault.NotFound},
		"damaged":              {func(in *engine.LegacyRequest) { in.Wrapped[len(in.Wrapped)-1] ^= 1 }, fault.Malformed},
		"too short":            {func(in *engine.LegacyRequest) { in.Wrapped = wrapFor(t, pair, make([]byte, 31)) }, fault.Malformed},
		"no such context":      {func(in *engine.LegacyRequest) { in.Versions[0].Context = "none" }, fault.Malformed},
		"impossible id":        {func(in *engine.LegacyRequest) { in.Versions[0].KeyID = "a b" }, fault.Malformed},
		"number 0":             {func(in *engine.LegacyRequest) { in.Versions[0].Number = 0 }, fault.Malformed},
		"too many":             {func(in *engine.LegacyRequest) { in.Versions = make([]engine.LegacyVersion, 1001) }, fault.Malformed},
		"pair: other key":      {func(in *engine.LegacyRequest) { in.Pairs[0].WrapInfo = "x:v1:sz32" }, fault.Malformed},
		"pair: damaged":        {func(in *engine.LegacyRequest) { in.Pairs[0].Encrypted[0] ^= 1 }, fault.Malformed},
		"pair: nonce":          {func(in *engine.LegacyRequest) { in.Pairs[0].Nonce = nil }, fault.Malformed},
		"pair: algorithm":      {func(in *engine.LegacyRequest) { in.Pairs[0].Algorithm = "AES-256-GCM" }, fault.Malformed},
		"pair: wrong context":  {func(in *engine.LegacyRequest) { in.Pairs[0].Context = "general" }, fault.Malformed},
		"named twice, differs": {func(in *engine.LegacyRequest) { in.Versions = append(in.Versions, in.Versions[0]) }, fault.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			o = readOriginal(t)
			in := good()
			c.change(in)
			if _, err := w.engine.ImportLegacy(ctx, w.owner(), in); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %s", err, c.want)
			}
		})
	}
	if _, err := w.engine.ImportLegacy(ctx, w.userCall(w.tenant, directory.Viewer), good()); !errors.Is(err, fault.Forbidden) {
		t.Fatalf("a viewer: %v", err)
	}
	if _, err := w.engine.ImportLegacy(ctx, w.call(), good()); !errors.Is(err, fault.Forbidden) {
		t.Fatalf("an application: %v", err)
	}
	// After all the refusals the import still serves: nothing was used up, and nothing was left in the token.
	if n := w.vault.kept.Load(); n != 0 {
		t.Errorf("imports that were refused left %d objects in the token", n)
	}
	o = readOriginal(t) // the last case has changed it
	if _, err := w.engine.ImportLegacy(ctx, w.owner(), good()); err != nil || w.vault.kept.Load() != 1 {
		t.Fatalf("%d objects, %v", w.vault.kept.Load(), err)
	}
}

// TestInvariant05LegacyUnderFIPS: what the original wrote with algorithms that are not approved does not open in mode enabled.
func TestInvariant05LegacyUnderFIPS(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.FIPS = algs.Enabled })
	ctx := t.Context()
	o := readOriginal(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "general"})
	w.app = w.newApplication(w.tenant, "all", "general", "user-pii", "payment-data")
	pair, err := w.engine.CreateImport(ctx, w.owner(), keys.Token)
	if err != nil {
		t.Fatal(err)
	}
	in := o.request()
	in.Import, in.Wrapped = pair.ID, wrapFor(t, pair, o.prk())
	if _, err := w.engine.ImportLegacy(ctx, w.owner(), &in); err != nil {
		t.Fatal(err)
	}
	for _, c := range o.Ciphertexts {
		row, ok := algs.Lookup(algs.Name(c.Algorithm))
		if !ok { // AES-128-CBC, which stands as AES-128-GCM in the frame
			row, _ = algs.Lookup(algs.AES128GCM)
		}
		_, err := w.decrypt(c.Context, c.Packed, string(c.AAD))
		if row.Approval == algs.NotApproved && !errors.Is(err, fault.AlgorithmNotApproved) || row.Approval != algs.NotApproved && err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
	}
}

func TestLegacyDerivation(t *testing.T) {
	o := readOriginal(t)
	text, err := os.ReadFile("testdata/original.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		PRK string `json:"prk_hex"`
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(o.prk()) != want.PRK {
		t.Fatal("the sample's PRK is not that of its master string and salt")
	}
}

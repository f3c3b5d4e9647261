package appliance

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/lp"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/seal"
)

// TestInvariant02NoFileHoldsAKey lets a node work and take a snapshot, derives the very keys it used, and looks for them in every
// file it left, in binary, hex and base64; and for the names, which only the audit log may hold, and the tokens, which only the
// files of the hand-over may.
func TestInvariant02NoFileHoldsAKey(t *testing.T) {
	n := firstRunNode(t)
	config, dir := n.config, n.config.DataDir
	if err := n.handOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	tenant := n.cluster.View().Tenants()[0].ID
	app := n.cluster.View().Tenant(tenant).Applications()[0]
	secrets := map[string][]byte{}
	derive := func(name string, info []byte) {
		t.Helper()
		key, err := n.token.Expand(t.Context(), info, 32)
		if err != nil {
			t.Fatal(err)
		}
		secrets[name] = bytes.Clone(key.Reveal())
	}
	for _, c := range n.cluster.View().Tenant(tenant).Contexts() {
		call := &engine.Call{Subject: &policy.Subject{Kind: policy.KindApplication, ID: app.ID, Tenant: tenant, Credential: app.KeyID}}
		out, err := n.engine.Encrypt(t.Context(), call, &engine.EncryptRequest{Context: c.Name, Plaintext: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		// The derivation is written out here once more, from the specification of the bytes.
		v := n.cluster.View().Tenant(tenant).Version(out.KeyID)
		if !v.Derived() {
			secrets["private key of "+c.Name] = openSealed(t, n, v)
			continue
		}
		info := lp.Append(lp.Append(lp.Append(nil, "cryptoserve/1/dek"), v.Tenant), v.Context)
		info = binary.BigEndian.AppendUint32(info, v.Number)
		info = lp.Append(binary.BigEndian.AppendUint16(info, v.Bits), v.Salt)
		derive("DEK of "+c.Name, info)
	}
	derive("storage key", engine.PurposeInfo("storage", n.identity.ClusterID))
	derive("key-seal key", engine.PurposeInfo("key-seal", tenant))
	derive("refresh-token key", engine.PurposeInfo("refresh-token"))
	if signer, _, err := n.engine.AccessSigner(t.Context(), app.ID); err != nil {
		t.Fatal(err)
	} else {
		secrets["private key of the application"] = seedOf(t, signer)
	}
	if err := n.cluster.Snapshot(); err != nil {
		t.Fatal(err)
	}
	names := []string{devApplication, "user-pii", "payment-data", "general", "quantum-ready", "health-records"}
	handOver := []string{"ca.pem", "app.token", "app.refresh", "owner.token"}
	tokens := map[string][]byte{}
	for _, name := range handOver[1:] {
		token, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		tokens[name] = bytes.TrimSpace(token)
	}
	files, snapshots := 0, 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if e.Name() == "state.bin" && len(raw) > 0 {
			snapshots++
		}
		for name, key := range secrets {
			for _, form := range [][]byte{key, []byte(hex.EncodeToString(key)), []byte(base64.StdEncoding.EncodeToString(key))[:42], []byte(base64.RawURLEncoding.EncodeToString(key))[:42]} {
				if bytes.Contains(raw, form) {
					t.Errorf("%s holds the %s", path, name)
				}
			}
		}
		for _, name := range names {
			if filepath.Dir(path) != config.auditDir() && bytes.Contains(raw, []byte(name)) {
				t.Errorf("%s holds the name %q", path, name)
			}
		}
		for name, token := range tokens {
			if !slices.Contains(handOver, e.Name()) && bytes.Contains(raw, token) {
				t.Errorf("%s holds %s", path, name)
			}
		}
		return nil
	})
	if err != nil || files < 15 || len(secrets) != 15 || snapshots != 1 {
		t.Fatalf("looked for %d keys in %d files, %d snapshots: %v", len(secrets), files, snapshots, err)
	}
}

// openSealed opens the private half of a version as the documentation of its bytes says.
func openSealed(t *testing.T, n *node, v *keys.Version) []byte {
	t.Helper()
	key, err := n.token.Expand(t.Context(), engine.PurposeInfo("key-seal", v.Tenant), 32)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	aad := binary.BigEndian.AppendUint32(lp.Append(lp.Append(nil, v.Tenant), v.ID), v.Number)
	private, err := k.Open(nil, lp.Append(aad, string(v.Algorithm)), v.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

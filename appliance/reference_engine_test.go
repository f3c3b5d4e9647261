package appliance_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"cryptoserve/cluster"
	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm"
	"cryptoserve/softhsm/softhsmtest"
)

// ledger joins a cluster node to an engine.
type ledger struct{ *cluster.Node }

func (l ledger) Propose(ctx context.Context, c command.Command) (command.Outcome, error) {
	return l.Node.Propose(ctx, c)
}

func (l ledger) View() engine.View { return view{l.Node.View()} }

type view struct{ *cluster.View }

func (v view) Tenant(id string) engine.TenantView { return v.View.Tenant(id) }

// TestReferenceDerivations reads what an engine with a real token wrote, from the text of the technical reference: a frame of
// format 4 from its data key's info on, and a stored key from the info of its seal on.
func TestReferenceDerivations(t *testing.T) {
	defer func() {
		if p := recover(); p != nil { // of must
			t.Fatal(p)
		}
	}()
	ctx := t.Context()
	token, e, nodes := referenceEngine(t)
	appliance := e.ApplianceCall("r", "")
	tenant := must(e.CreateTenant(ctx, appliance, "first")).ID
	appliance.Subject.Tenant = tenant
	must(e.CreateContext(ctx, appliance, engine.ContextSpec{Name: "user-pii"}))
	app := must(e.CreateApplication(ctx, appliance, engine.ApplicationSpec{
		Name: "demo", Grants: []directory.Grant{{Context: "user-pii", Encrypt: true, Decrypt: true}},
	}))
	owner := must(e.CreateUser(ctx, appliance, "owner", []directory.Role{directory.Owner}))
	session := directory.Session{Hash: [32]byte{1}, User: owner.ID, Tenant: tenant, ExpiresAt: 1 << 50, CreatedAt: time.Now().UnixMilli()}
	must(0, e.StartSession(ctx, appliance, session))
	user := &engine.Call{Subject: &policy.Subject{Kind: policy.KindUser, ID: owner.ID, Tenant: tenant, Session: session.Hash}}
	call := &engine.Call{Subject: &policy.Subject{Kind: policy.KindApplication, ID: app.ID, Tenant: tenant, Credential: app.KeyID}}
	derive := func(info []byte) []byte {
		key := must(token.Expand(ctx, info, 32))
		return bytes.Clone(key.Reveal())
	}

	frame := must(e.Encrypt(ctx, call, &engine.EncryptRequest{Context: "user-pii", Plaintext: []byte("plain"), AssociatedData: []byte("row 7")})).Ciphertext
	n := 2 + int(binary.BigEndian.Uint16(frame))
	var header struct {
		Context    string `json:"ctx"`
		KeyID      string `json:"kid"`
		Algorithm  string `json:"alg"`
		Salt       []byte `json:"salt"`
		Commitment []byte `json:"kc"`
	}
	must(0, json.Unmarshal(frame[2:n], &header))
	v := nodes.View().Tenant(tenant).Version(header.KeyID)
	dek := derive(join(part("cryptoserve/1/dek"), part(tenant), part(header.Context), uint32Bytes(int(v.Number)), uint16Bytes(256), part(string(v.Salt))))
	okm := expand(dek, join(part("cryptoserve/4"), part(header.Algorithm), part(string(header.Salt))), 64)
	if !bytes.Equal(okm[32:], header.Commitment) {
		t.Fatalf("the commitment is %s", base64.StdEncoding.EncodeToString(okm[32:]))
	}
	plaintext := must(gcm(okm[:32]).Open(nil, frame[n:n+12], frame[n+12:], join(frame[:n], []byte("row 7"))))
	if string(plaintext) != "plain" {
		t.Fatalf("opened %q", plaintext)
	}

	must(e.CreateKey(ctx, user, engine.KeySpec{Name: "row-mac", Context: "user-pii", Algorithm: "HMAC-SHA256"}))
	v = nodes.View().Tenant(tenant).ObjectVersions("row-mac")[0]
	aad := join(part(tenant), part(v.ID), uint32Bytes(int(v.Number)), part("HMAC-SHA256"))
	blob := expand(derive(join(part("cryptoserve/1/key-seal"), part(tenant))), join(part("cryptoserve/seal/1"), part(string(v.Sealed[1:33]))), 32)
	key := must(gcm(blob).Open(nil, v.Sealed[33:45], v.Sealed[45:], join([]byte{1}, aad)))
	tag := must(e.MAC(ctx, call, &engine.MACRequest{Key: "row-mac", Message: []byte("message")})).MAC
	if !bytes.Equal(tag, mac(key, []byte("message"))) {
		t.Fatal("the stored key is not the one that makes the codes")
	}
}

// referenceEngine returns an engine on a real token, Raft log and audit log.
func referenceEngine(t *testing.T) (*hsm.Token, *engine.Engine, *cluster.Node) {
	t.Helper()
	ctx := t.Context()
	library, store := softhsmtest.New(t)
	must(0, store.Use())
	pin := secret.Copy([]byte("123456"))
	must(0, hsm.InitToken(library, "reference", secret.Copy([]byte("12345678")), pin))
	token := must(hsm.Open(ctx, hsm.Config{Module: library, TokenLabel: "reference", PIN: pin}))
	closing := func(close func() error) {
		t.Cleanup(func() {
			if err := close(); err != nil {
				t.Error(err)
			}
		})
	}
	closing(func() error { return token.Close(context.WithoutCancel(ctx)) })
	must(0, token.Provision(ctx))
	dir := t.TempDir()
	storage := must(token.Expand(ctx, engine.PurposeInfo(engine.PurposeStorage, "cluster_1"), 32))
	node := must(cluster.Open(ctx, cluster.Config{Dir: filepath.Join(dir, "raft"), NodeID: "node_1", ClusterID: "cluster_1", StorageKey: storage}))
	closing(node.Close)
	log := must(audit.Open(audit.Config{Dir: filepath.Join(dir, "audit"), Node: "node_1", SegmentBytes: 4 << 20}))
	closing(log.Close)
	e := must(engine.New(engine.Config{Vault: token, Ledger: ledger{node}, Audit: log}))
	t.Cleanup(e.Close)
	must(0, e.CreateCluster(ctx, e.ApplianceCall("r", ""), directory.Cluster{ID: "cluster_1", MasterKCV: token.MasterKCV()}))
	return token, e, node
}

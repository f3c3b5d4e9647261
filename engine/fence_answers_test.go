package engine_test

import (
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/password"
	"cryptoserve/engine/policy"
)

// answers are the use cases that answer by what a node knows, by the method of the engine.
func (w *world) answers(t *testing.T) map[string]func() (any, error) {
	t.Helper()
	app := subject(w.app)
	byMethod := map[string]string{
		"encrypt a batch": "EncryptBatch", "decrypt a batch": "DecryptBatch", "rewrap": "Rewrap", "rewrap a batch": "RewrapBatch",
		"data key": "DataKey", "wrapped data key": "DataKey/wrapped", "encrypt a stream": "EncryptStream", "decrypt a stream": "DecryptStream",
		"sign": "Sign", "sign in the token": "Sign/token", "verify": "Verify", "mac": "MAC", "verify a mac": "VerifyMAC",
		"encapsulate": "Encapsulate", "decapsulate": "Decapsulate", "agree": "Agree", "encrypt to a key": "KeyEncrypt",
		"decrypt with a key": "KeyDecrypt", "read a key": "Key", "list keys": "Keys", "hash": "Hash", "derive": "DeriveKey",
		"random": "Random", "hash a password": "HashPassword", "algorithms": "Algorithms", "FIPS status": "FIPS",
	}
	all := map[string]func() (any, error){}
	for _, u := range w.useCases(t, app) {
		if byMethod[u.name] == "" {
			t.Fatalf("which method is %q?", u.name)
		}
		all[byMethod[u.name]] = u.run
	}
	ctx, e := t.Context(), w.engine
	frame := w.mustEncrypt("user-pii", "secret", "").Ciphertext
	all["Encrypt"] = func() (any, error) {
		out, err := e.Encrypt(ctx, callOf(app), &engine.EncryptRequest{Context: "user-pii", Plaintext: []byte("secret")})
		return orNil(out.Ciphertext == nil, out), err
	}
	all["Decrypt"] = func() (any, error) {
		out, err := e.Decrypt(ctx, callOf(app), &engine.DecryptRequest{Context: "user-pii", Ciphertext: frame})
		return orNil(out.Plaintext == nil, out), err
	}
	all["VerifyPassword"] = func() (any, error) {
		out, err := e.VerifyPassword(ctx, callOf(app), weakHash, []byte("correct horse"))
		return orNil(!out.Valid, out), err
	}
	all["VerifyToken"] = func() (any, error) {
		out, err := e.VerifyToken(ctx, callOf(app), app)
		return orNil(out == nil, out), err
	}
	w.readings(t, all)
	w.readingsOfCluster(t, all)
	return all
}

// hasCluster gives a node a fleet, what wraps keys, and a place for backups, as one with a cluster port has.
func hasCluster(t *testing.T, c *engine.Config) {
	t.Helper()
	nodes := &fleet{digests: []directory.NodeDigest{{ID: member(1), Applied: 1, Digest: [32]byte{1}}}}
	nodes.set(member(1))
	c.NodeID, c.Fleet, c.Keys = member(1), nodes, &giver{}
	place, err := backup.NewDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c.Archive, c.Targets, c.Program = &archive{ledger: c.Ledger.(*ledger)}, []engine.BackupTarget{{Name: "local", Place: place}}, "1.0.0"
}

// readingsOfCluster adds what operators and joining nodes read, and what a joining node asks for again.
func (w *world) readingsOfCluster(t *testing.T, all map[string]func() (any, error)) {
	t.Helper()
	ctx, e := t.Context(), w.engine
	c := &clustered{world: w, fleet: &fleet{}, giver: &giver{}, operator: w.userNamed("olaf", directory.Operator)}
	c.addMember(1)
	read := func(method string, run func() (any, error)) {
		all[method] = func() (any, error) {
			out, err := run()
			return orNil(out == nil || reflect.ValueOf(out).IsZero(), out), err
		}
	}
	call := func() *engine.Call { return callOf(c.operator.Subject) }
	if _, _, err := e.InviteMember(ctx, call(), engine.JoinInvitationMost); err != nil {
		t.Fatal(err)
	}
	read("ClusterStatus", func() (any, error) { return e.ClusterStatus(ctx, call()) })
	read("Digests", func() (any, error) { l, _, err := e.Digests(ctx, call()); return l, err })
	read("Joins", func() (any, error) { return e.Joins(ctx, call()) })
	read("JoinInvitations", func() (any, error) { return e.JoinInvitations(ctx, call()) })

	run, err := e.CreateBackup(ctx, call(), "local")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.SetBackupSchedule(ctx, call(), directory.BackupSchedule{EveryMinutes: 60, Target: "local", Keep: 3}); err != nil {
		t.Fatal(err)
	}
	read("BackupSchedule", func() (any, error) { return e.BackupSchedule(ctx, call()) })
	read("ListBackups", func() (any, error) { return e.ListBackups(ctx, call()) })
	keeper := w.userNamed("karl", directory.Backup)
	read("ReadBackup", func() (any, error) {
		err := e.ReadBackup(ctx, callOf(keeper.Subject), run.Backup, "", func(int64) (io.Writer, error) { return io.Discard, nil })
		return orNil(err != nil, "a backup"), err
	})

	waiting, approved, joined := c.newJoiner(2), c.newJoiner(3), c.newJoiner(4)
	waits, allowed, ended := waiting.mustAsk(), approved.mustAsk(), joined.mustAsk()
	approved.approve(allowed.ID)
	joined.approve(ended.ID)
	if err := joined.complete(ended.ID, nil); err != nil {
		t.Fatal(err)
	}
	calls := 0
	// Each try comes from another network, and a second after the one before: their number is bounded.
	guest := func() *engine.Call {
		calls++
		w.clock.Add(int64(time.Second))
		return &engine.Call{RequestID: "r", Source: fmt.Sprintf("[2001:db8:%x:%x::1]:1", calls>>16, calls&0xffff), Start: time.Now()}
	}
	status := func(j *joiner, id string) func() (any, error) {
		return func() (any, error) { return e.JoinStatus(ctx, guest(), id, j.secret.Hash()) }
	}
	read("JoinStatus", status(waiting, waits.ID))
	read("JoinStatus/approved", status(approved, allowed.ID))
	read("JoinStatus/done", status(joined, ended.ID))
	request := &engine.JoinRequest{Join: waiting.says, Signature: waiting.sign(waiting.says.RequestDigest())}
	read("RequestJoin/again", func() (any, error) { return e.RequestJoin(ctx, guest(), request) })
	check := c.giver.KeyCheckValues()
	proof := &engine.JoinProof{
		ID: ended.ID, Hash: joined.secret.Hash(), Check: check, Signature: joined.sign(directory.JoinCompleteDigest(ended.ID, &check)),
	}
	read("CompleteJoin/again", func() (any, error) {
		if err := e.CompleteJoin(ctx, guest(), proof); err != nil {
			return nil, err
		}
		return "a member", nil
	})
}

// weakHash is a stored string of "correct horse".
var weakHash string

// readings adds what people read.
func (w *world) readings(t *testing.T, all map[string]func() (any, error)) {
	t.Helper()
	ctx, e := t.Context(), w.engine
	owner := w.userNamed("ann", directory.Owner, directory.Operator)
	other := w.userNamed("ben", directory.Owner)
	call := func() *engine.Call { return callOf(owner.Subject) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	layers := engine.DefaultContexts()[0].Layers
	const key = "host-ed25519" // of useCases
	_, err := e.CreateInvitation(ctx, call(), engine.InvitationSpec{
		Email: "x@example.org", Roles: []directory.Role{directory.Developer}, Hash: [32]byte{9},
	})
	must(err)
	_, err = e.CreatePolicy(ctx, call(), engine.PolicySpec{Name: "small", Expression: "data.size < 1000000"})
	must(err)
	_, err = e.RegisterApplication(ctx, call(), engine.RegisterSpec{Name: "mine", Contexts: []string{"user-pii"}})
	must(err)
	weakHash, err = password.Hash(ctx, algs.PBKDF2SHA256, []byte("correct horse"), &kdf.Cost{Iterations: 1000})
	must(err)
	list := func(method string, run func() (int, error)) {
		all[method] = func() (any, error) {
			n, err := run()
			return orNil(n == 0, n), err
		}
	}
	list("Contexts", func() (int, error) { l, err := e.Contexts(ctx, call()); return len(l), err })
	list("Contexts/application", func() (int, error) { l, err := e.Contexts(ctx, w.call()); return len(l), err })
	list("ContextVersions", func() (int, error) { l, err := e.ContextVersions(ctx, call(), "user-pii"); return len(l), err })
	list("KeyVersions", func() (int, error) { l, err := e.KeyVersions(ctx, call(), key); return len(l), err })
	list("Keys/user", func() (int, error) { l, err := e.Keys(ctx, call()); return len(l), err })
	list("Roles", func() (int, error) { l, err := e.Roles(ctx, call()); return len(l), err })
	list("Users", func() (int, error) { l, err := e.Users(ctx, call()); return len(l), err })
	list("Sessions", func() (int, error) { l, err := e.Sessions(ctx, call()); return len(l), err })
	list("Invitations", func() (int, error) { l, err := e.Invitations(ctx, call()); return len(l), err })
	list("Policies", func() (int, error) { l, err := e.Policies(ctx, call()); return len(l), err })
	list("DefaultPolicies", func() (int, error) { l, err := e.DefaultPolicies(ctx, call()); return len(l), err })
	list("Applications", func() (int, error) { l, err := e.Applications(ctx, call()); return len(l), err })
	list("Tenants", func() (int, error) { l, err := e.Tenants(ctx, call()); return len(l), err })
	record := func(method string, run func() (any, error)) {
		all[method] = func() (any, error) {
			out, err := run()
			return orNil(out == nil || reflect.ValueOf(out).IsZero(), out), err
		}
	}
	record("Approvals", func() (any, error) {
		l, err := e.Approvals(ctx, call())
		if err == nil {
			return "none yet", nil
		}
		return l, err
	})
	record("KeyUsage", func() (any, error) { return e.KeyUsage(ctx, call(), "") })
	record("Context", func() (any, error) { return e.Context(ctx, call(), "user-pii") })
	record("User", func() (any, error) { return e.User(ctx, call(), other.Subject.ID) })
	record("WhoAmI", func() (any, error) { return e.WhoAmI(ctx, call()) })
	record("Settings", func() (any, error) { return e.Settings(ctx, call()) })
	record("Policy", func() (any, error) { return e.Policy(ctx, call(), "small") })
	record("TestPolicy", func() (any, error) {
		return e.TestPolicy(ctx, call(), &engine.PolicyTrial{Context: "user-pii", Operation: string(policy.Encrypt)})
	})
	record("ReadApplication", func() (any, error) { return e.ReadApplication(ctx, call(), w.app.ID) })
	record("ApplicationTokens", func() (any, error) { return e.ApplicationTokens(ctx, call(), w.app.ID) })
	record("ExplainContext", func() (any, error) { return e.ExplainContext(ctx, call(), layers) })
	begun := 0
	record("Device", func() (any, error) {
		begun++
		w.clock.Add(int64(2 * time.Second)) // a user tries so often
		// As on another node: these questions do not count.
		device := directory.Device{
			Hash: [32]byte{7, byte(begun), byte(begun >> 8)}, UserCode: "DVCS-" + consonants(begun), State: directory.DevicePending,
			CreatedAt: w.now().UnixMilli(), ExpiresAt: w.now().Add(time.Minute).UnixMilli(),
		}
		if _, err := w.ledger.Propose(ctx, command.CreateDevice{Device: device}); err != nil {
			return nil, err
		}
		return e.Device(ctx, call(), device.UserCode)
	})
	record("RegisterApplication", func() (any, error) {
		w.clock.Add(int64(time.Minute)) // a user registers so often
		return e.RegisterApplication(ctx, call(), engine.RegisterSpec{Name: "mine", Contexts: []string{"user-pii"}})
	})
}

// consonants writes a number as the half of a user code.
func consonants(n int) string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	text := ""
	for range 4 {
		text, n = text+string(letters[n%len(letters)]), n/len(letters)
	}
	return text
}

func orNil(empty bool, out any) any {
	if empty {
		return nil
	}
	return out
}

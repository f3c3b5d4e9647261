package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/backup"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/password"
	"cryptoserve/engine/policy"
)

// fencedLedger is the real ledger as a node of several sees it: with leases that run out, and a state that may be behind the
// others'. It writes down what the engine asks.
type fencedLedger struct {
	engine.Ledger

	mu    sync.Mutex
	steps []string // what was asked, in order
	// cut is how many questions the node's lease lasts for, caughtUp how many until it knows what the others did meanwhile and has
	// another lease; a negative number is never. From the moment of the cut on the others have taken away what edits say.
	cut, caughtUp int
	edits         *edits
	// down lets no lease be had and no barrier succeed; runsOut is the first check of the clock that finds it past the lease.
	down    bool
	alone   bool // without a lease, but the log answers
	atLog   bool // the node catches up when it asks the log
	runsOut int
	checks  int
	fenced  time.Duration
	atLease func(n int) // if set, runs at each question for the lease, the first of which is 1
	leases  int
}

const never = -1

func newFencedWorld(t *testing.T) (*world, *fencedLedger) {
	t.Helper()
	l := &fencedLedger{cut: never, caughtUp: never}
	w := newWorld(t, func(c *engine.Config) {
		hasCluster(t, c)
		l.Ledger = c.Ledger
		c.Ledger = l
	})
	return w, l
}

// reset forgets what was asked and lets everything be well.
func (l *fencedLedger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alone, l.atLog, l.atLease, l.leases = false, false, nil, 0
	l.steps, l.cut, l.caughtUp, l.edits, l.down, l.runsOut, l.checks, l.fenced = nil, never, never, nil, false, 0, 0, 0
}

func (l *fencedLedger) step(what string) (ended, fresh bool) {
	n := len(l.steps)
	l.steps = append(l.steps, what)
	return l.cut >= 0 && n >= l.cut, l.caughtUp >= 0 && n >= l.caughtUp
}

func (l *fencedLedger) asked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.steps)
}

const firstLease, secondLease = 1, 2

func (l *fencedLedger) Lease() int64 {
	l.leases++
	if l.atLease != nil {
		l.atLease(l.leases)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, fresh := l.step("lease")
	switch {
	case l.down, l.alone:
		return 0
	case fresh:
		return secondLease
	default:
		return firstLease
	}
}

func (l *fencedLedger) Expired(lease int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ended, _ := l.step("expired")
	l.checks++
	return l.down || l.alone || l.runsOut > 0 && l.checks >= l.runsOut || ended && lease == firstLease
}

func (l *fencedLedger) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, fresh := l.step("epoch")
	if fresh {
		return l.Ledger.Epoch() + 1<<32
	}
	return l.Ledger.Epoch()
}

func (l *fencedLedger) View() engine.View {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, fresh := l.step("view"); fresh && l.edits != nil {
		return shiftingView{l.Ledger.View(), l.edits}
	}
	return l.Ledger.View()
}

func (l *fencedLedger) Barrier(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step("barrier")
	if l.down {
		return errors.New("no leader answers")
	}
	if l.atLog {
		l.caughtUp = len(l.steps)
	}
	return l.Ledger.Barrier(ctx)
}

func (l *fencedLedger) Propose(ctx context.Context, c command.Command) (command.Outcome, error) {
	l.mu.Lock()
	l.step("propose")
	fenced := l.fenced
	l.mu.Unlock()
	out, err := l.Ledger.Propose(ctx, c)
	out.Fenced = fenced
	return out, err
}

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

// TestInvariant04NoAnswerWhenTheLeaseRunsOut lets the lease of a node run out at each check of its clock: the one before the work, and
// those after it. A use case that checks only once would answer by what it knew before its work.
func TestInvariant04NoAnswerWhenTheLeaseRunsOut(t *testing.T) {
	w, l := newFencedWorld(t)
	for method, run := range w.answers(t) {
		t.Run(method, func(t *testing.T) {
			defer l.reset()
			l.reset()
			if out, err := run(); err != nil || out == nil {
				t.Fatalf("before: %v, %v", out, err)
			}
			checks := l.checks
			if checks < 2 {
				t.Fatalf("the clock was read %d times: %v", checks, l.asked())
			}
			for n := 1; n <= checks; n++ {
				l.reset()
				l.runsOut = n
				out, err := run()
				if partial := strings.HasSuffix(method, "Stream"); !errors.Is(err, fault.StaleReplica) || out != nil && !partial {
					t.Errorf("at check %d of %d: %v, %v", n, checks, out, err)
				}
				if method == "EncryptStream" && n == checks {
					continue // of the last segment, which leaves behind the record of its end
				}
				if r := w.audit.last.Load(); r.Code != "stale-replica" || r.Result.String() != "failed" {
					t.Errorf("at check %d the record says %s, %s", n, r.Result, r.Code)
				}
			}
		})
	}
}

// TestInvariant04LeaseComesBeforeTheRecords lets a node lose the others at each step of each use case, lets these take its rights away,
// and lets it come back with the new state and a new lease at each step after that. It must not answer by what it read before:
// who reads the lease after the records would.
func TestInvariant04LeaseComesBeforeTheRecords(t *testing.T) {
	w, l := newFencedWorld(t)
	gone := &edits{
		tenant: func(r *directory.Tenant) { r.Status = directory.Disabled },
		joins:  func([]*directory.Join) []*directory.Join { return nil },
	}
	answers := w.answers(t)
	delete(answers, "HashPassword") // a second each time, and its way is that of Hash: Engine.compute
	for method, run := range answers {
		t.Run(method, func(t *testing.T) {
			defer l.reset()
			l.reset()
			if _, err := run(); err != nil {
				t.Fatal(err)
			}
			most := len(l.asked())
			for cut := range most {
				for back := cut; back <= most; back++ {
					l.reset()
					l.cut, l.caughtUp, l.edits = cut, back, gone
					_, err := run()
					// Who loses the others after the last check of the clock has answered before.
					if steps := l.asked(); err == nil && cut < lastIndex(steps, "expired")+1 {
						t.Errorf("cut off at step %d, back at step %d of %v: it answers", cut, back, steps)
					}
					if k := fault.Of(err); err != nil && k != fault.StaleReplica && k != fault.Unauthenticated {
						t.Errorf("cut off at step %d, back at step %d: %v", cut, back, err)
					}
				}
			}
		})
	}
}

func lastIndex(list []string, what string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == what {
			return i
		}
	}
	return -1
}

// withoutRight are the methods that use no right of a caller and tell nothing of what the node knows, or that carry on as far as
// anybody may.
var withoutRight = []string{
	"Admit",        // limits of this node
	"Refuse",       // refuses
	"Note",         // records what the API did
	"VisitNode",    // limits of this node
	"CreateDevice", // anybody may, and the log has the code or not
	"RevokeToken",  // whoever has the token may, and the log has it or not
}

// applianceOnly are those that only the appliance itself calls, whose commands name what they found.
var applianceOnly = []string{"ApplianceCall", "CreateCluster", "CreateTenant", "StartSession"}

// TestInvariant05NothingWithoutALease calls every use case of the engine on a node that has lost the others: none does any work, nor
// tells anything but that.
func TestInvariant05NothingWithoutALease(t *testing.T) {
	w, l := newFencedWorld(t)
	owner := w.userNamed("ann", directory.Owner, directory.Operator)
	special := map[string][]any{
		"EncryptBatch": {&engine.BatchRequest{Context: "user-pii", Items: items("a")}},
		"DecryptBatch": {&engine.BatchRequest{Context: "user-pii", Items: items("a")}},
		"RewrapBatch":  {&engine.BatchRequest{Context: "user-pii", Items: items("a")}},
		"Login":        {&engine.LoginRequest{Name: "ann", Password: []byte("correct horse")}},
	}
	of := reflect.TypeFor[*engine.Engine]()
	walked := 0
	for i := range of.NumMethod() {
		m := of.Method(i)
		if !takesCall(m) || slices.Contains(withoutRight, m.Name) {
			continue
		}
		for who, s := range map[string]*policy.Subject{"application": subject(w.app), "user": owner.Subject} {
			if slices.Contains(applianceOnly, m.Name) && who == "application" {
				continue
			}
			t.Run(m.Name+"/"+who, func(t *testing.T) {
				walked++
				args := []reflect.Value{reflect.ValueOf(w.engine), reflect.ValueOf(t.Context()), reflect.ValueOf(callOf(s))}
				for n := 3; n < m.Type.NumIn(); n++ {
					in := m.Type.In(n)
					switch {
					case special[m.Name] != nil && n-3 < len(special[m.Name]):
						args = append(args, reflect.ValueOf(special[m.Name][n-3]))
					case in.Kind() == reflect.Pointer:
						args = append(args, reflect.New(in.Elem()))
					default:
						args = append(args, reflect.Zero(in))
					}
				}
				l.reset()
				l.down = true
				calls := w.vault.calls.Load()
				out := m.Func.Call(args)
				l.down = false
				err, _ := out[len(out)-1].Interface().(error)
				if !errors.Is(err, fault.StaleReplica) || fault.RetryAfterOf(err) != time.Second {
					t.Errorf("got %v", err)
				}
				if n := w.vault.calls.Load() - calls; n != 0 || slices.Contains(l.asked(), "propose") {
					t.Errorf("%d calls of the token, and %v", n, l.asked())
				}
			})
		}
	}
	if walked < 200 {
		t.Errorf("only %d use cases were walked", walked)
	}
}

func takesCall(m reflect.Method) bool {
	for n := range m.Type.NumIn() {
		if m.Type.In(n) == reflect.TypeFor[*engine.Call]() {
			return true
		}
	}
	return false
}

// TestEveryUseCaseIsFenced: a method that answers by what the node knows must be among those whose lease the tests let run out. The
// others change something, and have their place in the log.
func TestEveryUseCaseIsFenced(t *testing.T) {
	w, _ := newFencedWorld(t)
	answers := w.answers(t)
	changes := []string{
		"AcceptInvitation", "AddUser", "CancelApproval", "CancelDestruction", "ChangeApplication", "ChangeContext", "ChangePassword",
		"ChangePolicy", "ChangeSettings", "CompromiseVersion", "CreateApplication", "CreateContext", "CreateImport", "CreateInvitation",
		"CreateKey", "CreatePolicy", "CreateUser", "DeactivateVersion", "DecideApproval", "DecideDevice", "DeleteApplication",
		"DeleteContext", "DeletePolicy", "DeleteTenant", "DeleteUser", "DestroyVersion", "DropInvitation", "EndSession", "EndUserSessions",
		"FoundTenant", "ImportKey", "ImportLegacy", "InviteOwner", "Login", "Logout", "RedeemDevice", "ResetPassword", "RestoreTenant",
		"ResumeVersion", "RevokeToken", "RevokeTokens", "RotateContext", "RotateKey", "RotateRefresh", "RotateTokens",
		"SetApplicationStatus", "SetContextDisabled", "SetContextMinimum", "SetKeyDisabled", "SetKeyMinimum", "SetKeyRotation",
		"ApproveJoin", "DenyJoin", "DropJoinInvitation", "FinaliseVersion", "InviteMember", "RemoveMember", "TransferLeadership",
		"RequestJoin", "CompleteJoin", "AnnounceMember", "CreateBackup", "RehearseBackup", "RestoreBackup", "SetBackupSchedule",
		"SetTenantStatus", "SetUserDisabled", "SetUserRoles", "SignIn", "StartRefresh", "SuspendVersion",
		"Approval", // reads as Policy does: there is none without settings that ask for it
	}
	known := slices.Concat(changes, withoutRight, applianceOnly)
	of := reflect.TypeFor[*engine.Engine]()
	for i := range of.NumMethod() {
		m := of.Method(i)
		if takesCall(m) && answers[m.Name] == nil && !slices.Contains(known, m.Name) {
			t.Errorf("%s is in neither list", m.Name)
		}
	}
}

// TestChangesNeedNoLeaseAtTheirEnd: a change may wait for the fence for longer than a lease lasts. It was made all the same.
func TestChangesNeedNoLeaseAtTheirEnd(t *testing.T) {
	w, l := newFencedWorld(t)
	owner := w.userNamed("ann", directory.Owner)
	w.ledger.afterPropose = func(context.Context, command.Command) {
		l.mu.Lock()
		l.down = true
		l.mu.Unlock()
	}
	l.fenced = 1500 * time.Millisecond
	call := callOf(owner.Subject)
	if _, err := w.engine.SetContextDisabled(t.Context(), call, "closed", true); err != nil || call.Fenced != 1500*time.Millisecond {
		t.Errorf("%v, fenced for %v", err, call.Fenced)
	}
	w.ledger.afterPropose = nil
	l.reset()
	l.fenced = time.Millisecond
	operator := callOf(w.userNamed("olga", directory.Operator).Subject)
	if _, _, err := w.engine.FoundTenant(t.Context(), operator, "second", engine.OwnerInvitation{Hash: [32]byte{1}}); err != nil ||
		operator.Fenced != 2*time.Millisecond {
		t.Errorf("two commands: %v, fenced for %v", err, operator.Fenced)
	}
}

// TestUnknownCredentialsOfANodeAlone: a node that has lost the others cannot tell a wrong credential from a new one.
func TestUnknownCredentialsOfANodeAlone(t *testing.T) {
	w, l := newFencedWorld(t)
	unknown := fault.New(fault.Unauthenticated, "test", "who?")
	refuse := func() error { return w.engine.Refuse(t.Context(), callOf(nil), policy.Encrypt, "", unknown) }
	if err := refuse(); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("with a lease: %v", err)
	}
	l.down = true
	if err := refuse(); !errors.Is(err, fault.StaleReplica) {
		t.Errorf("without: %v", err)
	}
	if w.engine.Current() {
		t.Error("a node without a lease takes itself for current")
	}
}

// TestRevokingASessionOfAnotherNode: a session that began on another node a moment ago ends all the same.
func TestRevokingASessionOfAnotherNode(t *testing.T) {
	w, l := newFencedWorld(t)
	session := w.userNamed("ann", directory.Owner).Subject.Session
	lagging := &laggingLedger{fencedLedger: l}
	lagging.behind = true
	e, err := engine.New(engine.Config{Vault: w.vault, Ledger: lagging, Audit: w.audit})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.RevokeToken(t.Context(), callOf(nil), engine.Revocation{Session: session}); err != nil {
		t.Fatal(err)
	}
	if w.ledger.View().Session(session) != nil {
		t.Error("the session lives")
	}
	// The first answer may not have come. The second one comes by the log and its wait, too.
	l.reset()
	lagging.behind = true
	if err := e.RevokeToken(t.Context(), callOf(nil), engine.Revocation{Session: session}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(l.asked(), "propose") {
		t.Errorf("what has ended is not said to the others again: %v", l.asked())
	}
}

// TestRevokingAFamilyAgain: the second answer comes by the log and its wait, as the first one.
func TestRevokingAFamilyAgain(t *testing.T) {
	w, l := newFencedWorld(t)
	family := command.CreateRefresh{Family: directory.RefreshFamily{
		ID: "fam_1", Tenant: w.app.Tenant, Application: w.app.ID, Hash: [32]byte{1}, ExpiresAt: math.MaxInt64,
	}}
	if _, err := w.ledger.Propose(t.Context(), family); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l.reset()
		if err := w.engine.RevokeToken(t.Context(), callOf(nil), engine.Revocation{Tenant: w.app.Tenant, Family: "fam_1"}); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(l.asked(), "propose") {
			t.Errorf("not by the log: %v", l.asked())
		}
	}
	if !w.ledger.View().RefreshFamily("fam_1").Revoked {
		t.Error("the family is not revoked")
	}
}

// laggingLedger does not know any session until it waited for the log.
type laggingLedger struct {
	*fencedLedger

	behind bool
}

func (l *laggingLedger) View() engine.View {
	if l.behind {
		return withoutSessions{l.fencedLedger.View()}
	}
	return l.fencedLedger.View()
}

func (l *laggingLedger) Barrier(ctx context.Context) error {
	err := l.fencedLedger.Barrier(ctx)
	l.behind = err != nil
	return err
}

type withoutSessions struct{ engine.View }

func (withoutSessions) Session([32]byte) *directory.Session { return nil }

// TestOneNodeReadsNoClock: a cluster of one has a lease without end and never reads its clock.
func TestOneNodeReadsNoClock(t *testing.T) {
	l := &endlessLedger{t: t}
	w := newWorld(t, func(c *engine.Config) {
		hasCluster(t, c)
		l.Ledger = c.Ledger
		c.Ledger = l
	})
	for method, run := range w.answers(t) {
		if _, err := run(); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
}

type endlessLedger struct {
	engine.Ledger

	t *testing.T
}

func (*endlessLedger) Lease() int64 { return math.MaxInt64 }

func (l *endlessLedger) Expired(int64) bool {
	l.t.Error("the clock was read")
	return false
}

func (l *endlessLedger) Barrier(context.Context) error {
	l.t.Error("the log was asked")
	return fmt.Errorf("not needed")
}

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
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

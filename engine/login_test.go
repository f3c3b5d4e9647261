package engine_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/password"
	"cryptoserve/engine/policy"
)

const goodPassword = "correct horse battery"

// stored is goodPassword, hashed once for all tests at the usual cost.
var stored = func() string {
	encoded, err := password.Hash(context.Background(), algs.Argon2id, []byte(goodPassword), nil)
	if err != nil {
		panic(err)
	}
	return encoded
}()

// account makes a user with goodPassword as if an administrator had, without the cost of hashing it again.
func (w *world) account(tenant, name string, roles ...directory.Role) *directory.User {
	w.t.Helper()
	var id [8]byte
	rand.Read(id[:])
	u := directory.User{
		ID: fmt.Sprintf("user_%x", id), Tenant: tenant, Name: name, Roles: roles, Status: directory.Enabled,
		CreatedAt: time.Now().UnixMilli(), Password: stored,
	}
	if _, err := w.ledger.Node.Propose(w.t.Context(), command.CreateUser{User: u}); err != nil {
		w.t.Fatal(err)
	}
	return &u
}

// signedIn returns a call of a user with a new session.
func (w *world) signedIn(u *directory.User) *engine.Call {
	w.t.Helper()
	now := time.Now().Add(time.Duration(w.clock.Load()))
	s := directory.Session{
		Hash: hashOf(), User: u.ID, Tenant: u.Tenant, CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(engine.SessionLifetime).UnixMilli(),
	}
	if _, err := w.ledger.Node.Propose(w.t.Context(), command.CreateSession{Session: s}); err != nil {
		w.t.Fatal(err)
	}
	subject := w.engine.SessionSubject(s.Hash)
	if subject == nil {
		w.t.Fatal("the session stands for nobody")
	}
	return callOf(subject)
}

// as returns a call of a new user with one role.
func (w *world) as(role directory.Role) *engine.Call {
	return w.signedIn(w.account(w.tenant, "a "+string(role), role))
}

// hashOf returns the hash of a new token.
func hashOf() (hash [32]byte) {
	rand.Read(hash[:])
	return hash
}

func from(address string) *engine.Call {
	return &engine.Call{RequestID: "r1", Source: address, Start: time.Now()}
}

func (w *world) login(c *engine.Call, tenant, name, pass string) (engine.SessionInfo, error) {
	return w.engine.Login(w.t.Context(), c, &engine.LoginRequest{Tenant: tenant, Name: name, Password: []byte(pass), Session: hashOf()})
}

// later moves the engine's clock on.
func (w *world) later(d time.Duration) { w.clock.Add(int64(d)) }

// watched collects what is recorded from now on.
func (w *world) watched() *[]audit.Record {
	var list []audit.Record
	w.audit.onAppend = func(r *audit.Record) { list = append(list, *r) }
	return &list
}

func (w *world) userNow(id string) *directory.User { return w.ledger.View().Tenant(w.tenant).User(id) }

func TestLogin(t *testing.T) {
	w := newWorld(t)
	u := w.account(w.tenant, "alice", directory.Developer)
	records := w.watched()
	info, err := w.login(from("192.0.2.1"), "first", "alice", goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	s := info.Record
	if info.User.ID != u.ID || s.User != u.ID || s.Provider != "password" || s.Source != "192.0.2.1" ||
		s.ExpiresAt-s.CreatedAt != engine.SessionLifetime.Milliseconds() {
		t.Errorf("made %+v for %s", s, info.User.Name)
	}
	if got := w.engine.SessionSubject(s.Hash); got == nil || got.ID != u.ID {
		t.Errorf("the session stands for %+v", got)
	}
	if len(*records) != 2 {
		t.Fatalf("%d records", len(*records))
	}
	for i, want := range []audit.Result{audit.Started, audit.Success} {
		r := (*records)[i]
		if r.Result != want || r.Action != "session.login" || r.Resource != "alice" || r.Subject != u.ID || r.Kind != "user" || r.Tenant != w.tenant {
			t.Errorf("record %d is %+v", i, r)
		}
	}
}

// TestLoginTellsNothing compares everything that somebody without the password sees: the error and the work.
func TestLoginTellsNothing(t *testing.T) {
	w := newWorld(t)
	w.account(w.tenant, "alice", directory.Owner)
	disabled := w.account(w.tenant, "disabled", directory.Viewer)
	bare, err := w.engine.CreateUser(t.Context(), w.appliance(w.tenant), "bare", []directory.Role{directory.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.SetUserDisabled(t.Context(), w.signedIn(w.account(w.tenant, "boss", directory.Owner)), disabled.ID, true); err != nil {
		t.Fatal(err)
	}
	closed := w.newTenant("closed")
	w.account(closed, "alice", directory.Owner)
	if _, err := w.ledger.Propose(t.Context(), command.SetTenantStatus{Tenant: closed, Status: directory.Disabled}); err != nil {
		t.Fatal(err)
	}
	n := w.engine.CountPasswords()
	tests := []struct {
		name, tenant, user, pass string
		resource, cause          string
	}{
		{"wrong password", "first", "alice", "wrong horse battery", "alice", "password"},
		{"short password", "first", "alice", "x", "alice", "password"},
		{"unknown user", "first", goodPassword, goodPassword, "unknown", "user"},
		{"unknown tenant", "nowhere", "alice", goodPassword, "unknown", "user"},
		{"no tenant named default", "", "alice", goodPassword, "unknown", "user"},
		{"without a password", "first", bare.Name, goodPassword, "bare", "no-password"},
		{"disabled user", "first", "disabled", goodPassword, "disabled", "disabled"},
		{"disabled tenant", "closed", "alice", goodPassword, "alice", "disabled"},
	}
	want := ""
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n.Store(0)
			w.later(5 * time.Second)
			records := w.watched()
			info, err := w.login(from(fmt.Sprintf("192.0.2.%d", i)), tt.tenant, tt.user, tt.pass)
			var e *fault.Error
			if !errors.As(err, &e) || e.Kind != fault.Unauthenticated || info.Record != nil {
				t.Fatalf("got %+v, %v", info, err)
			}
			if want == "" {
				want = e.Detail
			}
			if e.Detail != want || e.Fields != nil || e.RetryAfter != 0 {
				t.Errorf("the detail is %q, of others %q", e.Detail, want)
			}
			if n.Load() != 1 {
				t.Errorf("%d comparisons", n.Load())
			}
			if len(*records) != 1 || (*records)[0].Result != audit.Denied || (*records)[0].Resource != tt.resource || (*records)[0].Cause != tt.cause {
				t.Errorf("recorded %+v", *records)
			}
			if strings.Contains(fmt.Sprintf("%+v %v", *records, err), goodPassword) {
				t.Error("the password is in the record or the error")
			}
		})
	}
}

// TestDecoyCostsTheSame: a user who is not there is compared with a string of the algorithm and cost of today's users.
func TestDecoyCostsTheSame(t *testing.T) {
	for _, name := range []algs.Name{algs.Argon2id, algs.PBKDF2SHA256, algs.PBKDF2SHA512, algs.Scrypt} {
		decoy := password.Decoy(name)
		real, err := password.Hash(t.Context(), name, []byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(decoy) != len(real) || decoy[:strings.LastIndex(decoy, "$")-22] != real[:strings.LastIndex(real, "$")-22] {
			t.Errorf("%s and %s", decoy, real)
		}
		if got, err := password.Verify(t.Context(), decoy, []byte("x")); err != nil || got.Valid || got.NeedsRehash {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if password.Decoy(name) == decoy {
			t.Errorf("%s: two decoys are the same", name)
		}
	}
}

// TestLoginFlood tries 10,000 times in ten seconds of the engine's clock.
func TestLoginFlood(t *testing.T) {
	w := newWorld(t)
	w.account(w.tenant, "alice", directory.Owner)
	n := w.engine.CountPasswords()
	records := w.watched()
	limited := 0
	for i := range 10_000 {
		if i%1000 == 0 {
			w.later(time.Second)
			w.engine.Tend()
		}
		c := from("192.0.2.1")
		_, err := w.login(c, "first", fmt.Sprintf("user %d", i), "wrong horse battery")
		switch fault.Of(err) {
		case fault.RateLimited:
			limited++
			if wait := fault.RetryAfterOf(err); wait <= 0 || wait > 5*time.Minute {
				t.Fatalf("Retry-After %v", wait)
			}
			if c.Counted != (c.Receipt.Sequence == 0) {
				t.Fatal("neither recorded nor counted, or both")
			}
		case fault.Unauthenticated:
		default:
			t.Fatal(err)
		}
	}
	w.later(time.Second)
	w.engine.Tend()
	if limited < 9_980 || n.Load() > 15 {
		t.Errorf("%d refused by a limit, %d passwords compared", limited, n.Load())
	}
	if len(*records) > 60 {
		t.Errorf("%d records", len(*records))
	}
	told := 0
	for _, r := range *records {
		if r.Code == fault.RateLimited.Code() {
			times := 1
			if _, err := fmt.Sscanf(r.Cause, "limited, %d times", &times); err != nil && r.Cause != "limited" {
				t.Errorf("the cause is %q", r.Cause)
			}
			told += times
		}
	}
	if told != limited {
		t.Errorf("the records tell of %d refusals, there were %d", told, limited)
	}
	if w.engine.CountedKeys() > 1 {
		t.Errorf("%d rows of refusals are remembered", w.engine.CountedKeys())
	}
}

// TestLoginFloodFromManyAddresses keeps the memory for refusals bounded.
func TestLoginFloodFromManyAddresses(t *testing.T) {
	w := newWorld(t)
	for i := range 1500 {
		c := from(fmt.Sprintf("2001:db8:%x::1", i))
		refused := 0
		for range 32 {
			if fault.Of(w.engine.VisitNode(t.Context(), c, policy.BeginSignIn, "corp")) == fault.RateLimited {
				refused++
			}
		}
		if refused == 0 || refused > 2 {
			t.Fatalf("%d of 32 visits were refused", refused)
		}
	}
	if n := w.engine.CountedKeys(); n > 1025 {
		t.Errorf("%d rows", n)
	}
}

// TestLoginLimits: wrong tries from many addresses keep nobody out, an address is kept from many names, and others are left alone.
func TestLoginLimits(t *testing.T) {
	w := newWorld(t)
	w.account(w.tenant, "alice", directory.Owner)
	w.account(w.tenant, "bob", directory.Viewer)
	for i := range 12 {
		w.later(time.Second)
		_, _ = w.login(from(fmt.Sprintf("2001:db8:%x::1", i)), "first", "alice", "wrong horse battery")
	}
	w.later(time.Second)
	if _, err := w.login(from("198.51.100.1"), "first", "alice", goodPassword); err != nil {
		t.Errorf("after many addresses: %v", err)
	}
	if _, err := w.login(from("2001:db8:0::ffff"), "first", "bob", goodPassword); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	// The addresses of one IPv6 network are one caller.
	if _, err := w.login(from("2001:db8:0::fffe"), "first", "carol", "x"); fault.Of(err) != fault.RateLimited {
		t.Errorf("the next address of the network: %v", err)
	}
	w.later(5 * time.Minute)
	if _, err := w.login(from("198.51.100.1"), "first", "alice", goodPassword); err != nil {
		t.Errorf("after the longest wait: %v", err)
	}
}

// TestLoginRehashes replaces a string of lower cost and leaves sessions alone; a password that was changed meanwhile stays.
func TestLoginRehashes(t *testing.T) {
	w := newWorld(t)
	u := w.account(w.tenant, "alice", directory.Owner)
	cheap, err := password.Hash(t.Context(), algs.Argon2id, []byte(goodPassword), &kdf.Cost{MemoryKiB: 32 << 10, Time: 3, Parallelism: 4})
	if err != nil {
		t.Fatal(err)
	}
	set := func(encoded, anew string) error {
		_, err := w.ledger.Node.Propose(t.Context(), command.SetPassword{Tenant: w.tenant, User: u.ID, Password: encoded, Anew: anew})
		return err
	}
	if err := set(cheap, ""); err != nil {
		t.Fatal(err)
	}
	other := w.signedIn(u)
	if _, err := w.login(from("192.0.2.1"), "first", "alice", goodPassword); err != nil {
		t.Fatal(err)
	}
	now := w.userNow(u.ID).Password
	if got, err := password.Verify(t.Context(), now, []byte(goodPassword)); err != nil || !got.Valid || got.NeedsRehash || now == cheap {
		t.Errorf("stored is %+v, %v", got, err)
	}
	if w.engine.SessionSubject(other.Subject.Session) == nil {
		t.Error("another session ended")
	}
	if err := set(stored, cheap); fault.Of(err) != fault.Conflict || w.userNow(u.ID).Password != now {
		t.Errorf("hashed anew from a string that is not there: %v", err)
	}
}

// TestLoginInFIPSMode: a password that is stored with an algorithm that is not approved is compared with a decoy.
func TestLoginInFIPSMode(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.FIPS = algs.Enabled })
	w.account(w.tenant, "alice", directory.Owner)
	if _, err := w.login(from("192.0.2.1"), "first", "alice", goodPassword); fault.Of(err) != fault.Unauthenticated || w.audit.last.Load().Cause != "algorithm" {
		t.Errorf("with Argon2id: %v, %s", err, w.audit.last.Load().Cause)
	}
	boss := w.as(directory.Owner)
	u, err := w.engine.AddUser(t.Context(), boss, engine.UserSpec{
		Name: "bob", Roles: []directory.Role{directory.Viewer}, Password: []byte(goodPassword),
	})
	if err != nil || !strings.HasPrefix(w.userNow(u.ID).Password, "$pbkdf2-") {
		t.Fatalf("made %+v, %v", u, err)
	}
	if _, err := w.login(from("192.0.2.2"), "first", "bob", goodPassword); err != nil {
		t.Errorf("with PBKDF2: %v", err)
	}
}

// TestLoginLooksAgain changes what the login rests on while its session is made.
func TestLoginLooksAgain(t *testing.T) {
	for name, c := range map[string]func(u *directory.User) command.Command{
		"password changed": func(u *directory.User) command.Command {
			return command.SetPassword{Tenant: u.Tenant, User: u.ID, Password: password.Decoy(algs.Argon2id)}
		},
		"disabled": func(u *directory.User) command.Command {
			return command.SetUserStatus{Tenant: u.Tenant, User: u.ID, Status: directory.Disabled}
		},
		"roles changed": func(u *directory.User) command.Command {
			return command.SetUserRoles{Tenant: u.Tenant, User: u.ID, Roles: []directory.Role{directory.Viewer}}
		},
		"tenant disabled": func(u *directory.User) command.Command {
			return command.SetTenantStatus{Tenant: u.Tenant, Status: directory.Disabled}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.account(w.tenant, "boss", directory.Owner)
			u := w.account(w.tenant, "alice", directory.Developer)
			w.engine.OnPassword(func() {
				if _, err := w.ledger.Node.Propose(t.Context(), c(u)); err != nil {
					t.Error(err)
				}
			})
			hash := hashOf()
			_, err := w.engine.Login(t.Context(), from("192.0.2.1"), &engine.LoginRequest{
				Tenant: "first", Name: "alice", Password: []byte(goodPassword), Session: hash,
			})
			if fault.Of(err) != fault.Unauthenticated || w.ledger.View().Session(hash) != nil {
				t.Errorf("got %v, and the session is %v", err, w.ledger.View().Session(hash))
			}
			if r := w.audit.last.Load(); r.Result != audit.Denied || r.Action != "session.login" {
				t.Errorf("recorded %+v", r)
			}
		})
	}
}

// TestSessionsAreBounded: the session that was used the longest time ago makes room.
func TestSessionsAreBounded(t *testing.T) {
	w := newWorld(t)
	u := w.account(w.tenant, "alice", directory.Viewer)
	first := w.signedIn(u)
	time.Sleep(2 * time.Millisecond) // so that the first is the oldest
	for range 99 {
		w.signedIn(u)
	}
	if _, err := w.login(from("192.0.2.1"), "first", "alice", goodPassword); err != nil {
		t.Fatal(err)
	}
	if n := len(w.ledger.View().Tenant(w.tenant).Sessions(u.ID)); n != 100 || w.ledger.View().Session(first.Subject.Session) != nil {
		t.Errorf("%d sessions", n)
	}
}

func TestStolenSession(t *testing.T) {
	w := newWorld(t)
	boss := w.as(directory.Owner)
	for name, end := range map[string]func(u *directory.User, c *engine.Call) error{
		"logout": func(_ *directory.User, c *engine.Call) error { return w.engine.Logout(t.Context(), c) },
		"disabled": func(u *directory.User, _ *engine.Call) error {
			return errorOf(w.engine.SetUserDisabled(t.Context(), boss, u.ID, true))
		},
		"deleted": func(u *directory.User, _ *engine.Call) error { return w.engine.DeleteUser(t.Context(), boss, u.ID) },
		"reset": func(u *directory.User, _ *engine.Call) error {
			return w.engine.ResetPassword(t.Context(), boss, u.ID, []byte(goodPassword))
		},
		"ended by another": func(u *directory.User, _ *engine.Call) error {
			return w.engine.EndUserSessions(t.Context(), boss, u.ID)
		},
		"ended by himself": func(u *directory.User, c *engine.Call) error {
			return w.engine.EndSession(t.Context(), w.signedIn(u), engine.SessionID(c.Subject.Session))
		},
		"password changed": func(u *directory.User, _ *engine.Call) error {
			return w.engine.ChangePassword(t.Context(), w.signedIn(u), []byte(goodPassword), []byte("another horse battery"))
		},
		"idle": func(*directory.User, *engine.Call) error { w.later(12*time.Hour + time.Second); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			defer w.clock.Store(0)
			w.later(2 * time.Second)
			u := w.account(w.tenant, "user of "+name, directory.Viewer)
			c := w.signedIn(u)
			if _, err := w.engine.WhoAmI(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if err := end(u, callOf(c.Subject)); err != nil {
				t.Fatal(err)
			}
			if w.engine.SessionSubject(c.Subject.Session) != nil {
				t.Error("the token still stands for somebody")
			}
			// Who was authenticated just before must not get through either.
			if _, err := w.engine.WhoAmI(t.Context(), callOf(c.Subject)); fault.Of(err) != fault.Unauthenticated {
				t.Errorf("got %v", err)
			}
		})
	}
}

func errorOf[T any](_ T, err error) error { return err }

// TestRoleChangeCountsAtOnce for sessions that are there, and for a change that was authorised before.
func TestRoleChangeCountsAtOnce(t *testing.T) {
	w := newWorld(t)
	boss := w.as(directory.Owner)
	admin := w.account(w.tenant, "admin", directory.Admin)
	target := w.account(w.tenant, "target", directory.Viewer)
	c := w.signedIn(admin)
	if _, err := w.engine.Users(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.ledger.onPropose = func(command.Command) error {
		w.ledger.onPropose = nil
		return errorOf(w.engine.SetUserRoles(t.Context(), boss, admin.ID, []directory.Role{directory.Viewer}))
	}
	if err := w.engine.DeleteUser(t.Context(), c, target.ID); fault.Of(err) != fault.Unauthenticated || w.userNow(target.ID) == nil {
		t.Errorf("a right that was lost between decision and change: %v", err)
	}
	if _, err := w.engine.Users(t.Context(), callOf(c.Subject)); fault.Of(err) != fault.Forbidden {
		t.Errorf("afterwards: %v", err)
	}
}

func TestTouch(t *testing.T) {
	w := newWorld(t)
	u := w.account(w.tenant, "alice", directory.Viewer)
	c := w.signedIn(u)
	hash := c.Subject.Session
	var touches atomic.Int64
	w.ledger.onPropose = func(cmd command.Command) error {
		if _, ok := cmd.(command.TouchSession); ok {
			touches.Add(1)
		}
		return nil
	}
	use := func(want int64) {
		t.Helper()
		for range 5 {
			if w.engine.SessionSubject(hash) == nil {
				t.Fatal("the session stands for nobody")
			}
		}
		w.engine.WaitBackground()
		if touches.Load() != want {
			t.Errorf("%d writes, want %d", touches.Load(), want)
		}
	}
	use(0)
	w.later(14 * time.Minute)
	use(0)
	w.later(2 * time.Minute)
	use(1)
	// Used now and then, it outlives the 12 hours, and not the 7 days.
	for range 19 {
		w.later(8 * time.Hour)
		if w.engine.SessionSubject(hash) == nil {
			t.Fatal("a session in use ended")
		}
		w.engine.WaitBackground()
	}
	w.later(8 * time.Hour)
	w.engine.SessionSubject(hash)
	w.engine.WaitBackground()
	w.ledger.onPropose = func(command.Command) error { touches.Add(1); return fault.New(fault.LedgerUnavailable, "test", "") }
	before := touches.Load()
	w.later(time.Hour)
	if w.engine.SessionSubject(hash) == nil {
		t.Error("a write that fails fails the call")
	}
	w.engine.WaitBackground()
	w.engine.SessionSubject(hash)
	w.engine.WaitBackground()
	if touches.Load() != before+1 {
		t.Errorf("%d tries of a write that fails", touches.Load()-before)
	}
}

func TestChangePassword(t *testing.T) {
	w := newWorld(t)
	u := w.account(w.tenant, "alice", directory.Viewer)
	c, other := w.signedIn(u), w.signedIn(u)
	change := func(current, next string) error {
		w.later(2 * time.Second)
		return w.engine.ChangePassword(t.Context(), callOf(c.Subject), []byte(current), []byte(next))
	}
	for name, tt := range map[string]struct {
		current, next string
		want          fault.Kind
	}{
		"wrong":     {"wrong horse battery", "another horse battery", fault.Forbidden},
		"too short": {goodPassword, "11 bytes on", fault.Malformed},
		"too long":  {goodPassword, strings.Repeat("x", 1025), fault.Malformed},
	} {
		if err := change(tt.current, tt.next); fault.Of(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := change(goodPassword, "twelve bytes"); err != nil {
		t.Fatal(err)
	}
	if w.engine.SessionSubject(c.Subject.Session) == nil || w.engine.SessionSubject(other.Subject.Session) != nil {
		t.Error("the wrong sessions ended")
	}
	if _, err := w.login(from("192.0.2.1"), "first", "alice", goodPassword); fault.Of(err) != fault.Unauthenticated {
		t.Errorf("with the old password: %v", err)
	}
	// A stolen session cannot guess without end.
	limited := false
	for range 10 {
		limited = limited || fault.Of(change("wrong horse battery", "another horse battery")) == fault.RateLimited
	}
	if !limited {
		t.Error("ten guesses in a row")
	}
	bare, err := w.engine.CreateUser(t.Context(), w.appliance(w.tenant), "bare", []directory.Role{directory.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.engine.ChangePassword(t.Context(), w.signedIn(bare), []byte("x"), []byte(goodPassword)); fault.Of(err) != fault.Conflict {
		t.Errorf("without a password: %v", err)
	}
	if got := w.userNow(u.ID).Password; bytes.Contains([]byte(got), []byte("twelve")) {
		t.Error("the password is stored as it is")
	}
}

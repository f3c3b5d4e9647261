package cluster

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// The names in everything. Those that are unique in a tenant only are the same in all.
const (
	orchard     = "orchard"
	press       = "press"
	strongRule  = "strong"
	approvalOne = "approval_0000000000000001"
	inviteOne   = "invitation_0000000000000001"
	subjectOne  = "subject-one"
	issuerOne   = "https://id.example.com"
	// lasting is when the sessions, codes and requests of everything end.
	lasting = 9000
)

// userID is a user of everything: 1 and 2 are owners, 3 and 4 administrators, 5 is a viewer whom an identity provider knows.
func userID(tenant string, n int) string { return fmt.Sprintf("usr-%s-%d", tenant, n) }

func appID(tenant string) string    { return "app-" + tenant }
func familyID(tenant string) string { return "ref-" + tenant }

// orchardKey is a key version in everything: 1 is deactivated and 2 active in the context, 3 is active in the key press.
func orchardKey(n byte, i int) string { return keyID(orchard, int(n)<<8|i) }

// codeHash is the hash of the n-th tenant's: 1 session, 2 refresh token, 3 invitation, 4 device code, 5 session of user 2.
func codeHash(n byte, i byte) [32]byte { return [32]byte(fill(32, n<<4|i)) }

func encoded(c command.Command) []byte {
	data, err := command.Encode(c)
	if err != nil {
		panic(err)
	}
	return data
}

func user(tenant string, n int, roles ...directory.Role) command.CreateUser {
	c := newUser(tenant, userID(tenant, n))
	c.User.Roles = roles
	return c
}

func newInvitation(tenant, id string, hash [32]byte, from, to int64) command.CreateInvitation {
	return command.CreateInvitation{Invitation: directory.Invitation{
		ID: id, Tenant: tenant, Hash: hash, Roles: []directory.Role{directory.Developer}, CreatedBy: userID(tenant, 1),
		CreatedAt: from, ExpiresAt: to,
	}}
}

func newDevice(code string, hash [32]byte, from, to int64) command.CreateDevice {
	return command.CreateDevice{Device: directory.Device{
		Hash: hash, UserCode: code, State: directory.DevicePending, CreatedAt: from, ExpiresAt: to,
	}}
}

func newPolicy(tenant, name string) command.PutPolicy {
	return command.PutPolicy{Create: true, Policy: directory.Policy{
		Tenant: tenant, Name: name, Expression: "algorithm.bits >= 128", Status: directory.Enabled, CreatedAt: 5, UpdatedAt: 5,
	}}
}

// newRequest asks for the approval of a command of a user, at 100.
func newRequest(tenant, id, requester string, required uint8, act directory.Act, c command.Command) command.RequestApproval {
	return command.RequestApproval{Approval: directory.Approval{
		ID: id, Tenant: tenant, Act: act, Resource: "what it is about", Command: encoded(c), Required: required, Requester: requester,
		Reason: "because", State: directory.ApprovalPending, CreatedAt: 100, ExpiresAt: lasting,
	}}
}

// everything is a tenant with a record in every table. Destroying a key needs two approvals, and user 1 has asked for those
// of orchardKey(n, 1).
func everything(tenant string, n byte) []command.Command {
	app := newApplication(tenant, appID(tenant), orchard)
	app.Application.CreatedBy, app.Application.Environment = userID(tenant, 1), "production"
	app.Application.Certificate = fill(32, n)
	legacy := newLegacy(tenant, orchard, "key_orchard_a1b2c3d4", uint32(n))
	legacy.Masters, legacy.Import = []keys.LegacyMaster{newMaster(tenant, uint32(n))}, importHSM
	viewer := user(tenant, 5, directory.Viewer)
	viewer.User.Issuer, viewer.User.Subject = issuerOne, subjectOne
	second := newSession(tenant, userID(tenant, 2), 0, 10, lasting)
	second.Session.Hash = codeHash(n, 5)
	session := newSession(tenant, userID(tenant, 1), 0, 10, lasting)
	session.Session.Hash = codeHash(n, 1)
	refresh := newRefresh(tenant, appID(tenant), familyID(tenant), 0, 10, lasting)
	refresh.Family.Hash = codeHash(n, 2)
	code := fmt.Sprintf("CODE-%04d", n)
	return []command.Command{
		newTenant(tenant), newContext(tenant, orchard, orchardKey(n, 1)),
		command.RotateContext{Version: newVersion(tenant, orchard, 2, orchardKey(n, 2))},
		user(tenant, 1, directory.Owner), user(tenant, 2, directory.Owner), user(tenant, 3, directory.Admin),
		user(tenant, 4, directory.Admin), viewer,
		session, second, app, refresh,
		newKey(tenant, orchard, press, orchardKey(n, 3)),
		tokenImport(tenant, importHSM, 1, lasting), legacy, newImport(tenant, importOne, 1, lasting),
		newInvitation(tenant, inviteOne, codeHash(n, 3), 10, lasting),
		newDevice(code, codeHash(n, 4), 10, lasting),
		command.DecideDevice{UserCode: code, Tenant: tenant, User: userID(tenant, 1), Approve: true, At: 20},
		newPolicy(tenant, strongRule),
		command.MergeUsage{Usage: []keys.Usage{{Key: orchardKey(n, 1), Tenant: tenant, Protected: 7, LastProtect: 30}}},
		command.ChangeSettings{Tenant: tenant, Settings: directory.Settings{
			Approvals: []directory.ApprovalRule{{Act: directory.ActDestroyKey, Approvers: 2}}, Revision: 1,
		}},
		newRequest(tenant, approvalOne, userID(tenant, 1), 2, directory.ActDestroyKey, destruction(tenant, orchardKey(n, 1))),
	}
}

// destruction schedules the end of a version 1000 after 100.
func destruction(tenant, key string) command.ScheduleDestruction {
	return command.ScheduleDestruction{Tenant: tenant, Key: key, At: 100, Wait: 1000, Reason: "because"}
}

// world is a state with two tenants that have everything: ten-a with number 1 and ten-b with number 2. It has what ofCluster makes,
// too.
func world(t testing.TB) *memdb.MemDB {
	t.Helper()
	db := newState()
	mustApply(t, db, newCluster())
	mustApply(t, db, everything("ten-a", 1)...)
	mustApply(t, db, everything("ten-b", 2)...)
	mustApply(t, db, ofCluster()...)
	edit(db, func(txn *memdb.Txn) {
		put(txn, tableBackupRuns, &directory.BackupRun{ID: "run-1", Backup: "backup-1", Target: "local", Node: "node-1", At: 5})
		applyEntry(txn, 40, command.Once{ID: [16]byte{1}, Command: encoded(command.DropJoinInvitation{ID: "none"})})
	})
	return db
}

func newMember(id string) command.AddMember {
	return command.AddMember{Member: directory.Member{
		ID: id, Name: "name-of-" + id, Address: id + ".example.com:8444", Key: [32]byte(fill(32, 9)), Status: directory.MemberActive,
		JoinedAt: 5, CommandVersion: 1, Program: "1.0",
	}}
}

// mustApply applies commands that must not be refused.
func mustApply(t testing.TB, db *memdb.MemDB, commands ...command.Command) {
	t.Helper()
	for i, out := range applyAll(t, db, commands...) {
		if out.Refused != 0 {
			t.Fatalf("%T: %+v", commands[i], out)
		}
	}
}

// edit replaces records behind the rules.
func edit(db *memdb.MemDB, change func(txn *memdb.Txn)) {
	txn := db.Txn(true)
	change(txn)
	txn.Commit()
}

func tenantA(db *memdb.MemDB) *TenantView { return newView(db, 0).Tenant("ten-a") }

// refusal is a command that must be refused, after others that must not be.
type refusal struct {
	command command.Command
	want    fault.Kind
	text    string // part of the detail, which tells the rules of one kind apart
	after   []command.Command
}

// refuses applies each command to a world of its own. A refusal leaves the state as it was, and names nothing of the command.
func refuses(t *testing.T, cases map[string]refusal) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			db := world(t)
			mustApply(t, db, c.after...)
			before := newView(db, 0).Digest()
			out := applyAll(t, db, c.command)[0]
			if out.Refused != c.want || c.text == "" || !strings.Contains(out.Detail, c.text) {
				t.Fatalf("outcome %+v, want %s: %s", out, c.want.Code(), c.text)
			}
			if newView(db, 0).Digest() != before {
				t.Fatal("a refused command changed the state")
			}
			for _, s := range texts(reflect.ValueOf(c.command)) {
				if len(s) >= 4 && strings.Contains(out.Detail, s) {
					t.Fatalf("the detail %q holds %q of the command", out.Detail, s)
				}
			}
		})
	}
}

// texts are all strings in a value, but not those of types such as roles.
func texts(v reflect.Value) []string {
	var found []string
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			return []string{v.String()}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			found = append(found, texts(v.Field(i))...)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				found = append(found, texts(v.Index(i))...)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return texts(v.Elem())
		}
	default:
	}
	return found
}

// holding counts the records of each table whose encoding holds a text.
func holding(t testing.TB, db *memdb.MemDB, text string) map[string]int {
	t.Helper()
	found := map[string]int{}
	eachRecord(t, db, func(table string, _ any, data []byte) {
		if bytes.Contains(data, []byte(text)) {
			found[table]++
		}
	})
	return found
}

// eachRecord walks all tables.
func eachRecord(t testing.TB, db *memdb.MemDB, yield func(table string, record any, data []byte)) {
	t.Helper()
	for _, table := range tables {
		it, err := db.Txn(false).Get(table.name, indexID)
		if err != nil {
			t.Fatal(err)
		}
		for r := it.Next(); r != nil; r = it.Next() {
			data, err := command.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			yield(table.name, r, data)
		}
	}
}

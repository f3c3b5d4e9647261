package cluster

import (
	"reflect"
	"slices"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

// applyAll applies commands as the state machine does, after a round trip through their encoding.
func applyAll(t testing.TB, db *memdb.MemDB, commands ...command.Command) []command.Outcome {
	t.Helper()
	outcomes := make([]command.Outcome, len(commands))
	for i, c := range commands {
		decoded, err := command.Decode(encodeCommand(t, c))
		if err != nil {
			t.Fatal(err)
		}
		txn := db.Txn(true)
		outcomes[i] = applyEntry(txn, uint64(i+1), decoded)
		txn.Commit()
	}
	return outcomes
}

func seeded(t testing.TB) *memdb.MemDB {
	t.Helper()
	db := newState()
	for i, out := range applyAll(t, db, seed()...) {
		if out.Refused != 0 {
			t.Fatalf("command %d of the seed: %+v", i, out)
		}
	}
	return db
}

func changed[C command.Command](c C, change func(*C)) command.Command {
	change(&c)
	return c
}

// apple is the context that the tests rotate: key 3 is its first version.
func rotation(number uint32, key int) command.RotateContext {
	return command.RotateContext{Version: newVersion("ten-a", "apple", number, keyID("apple", key))}
}

func TestApplyRefuses(t *testing.T) {
	hash := func(b byte) [32]byte { return [32]byte(fill(32, b)) }
	for name, c := range map[string]struct {
		command command.Command
		want    fault.Kind
	}{
		"cluster: a second":   {newCluster(), fault.Conflict},
		"tenant: used id":     {changed(newTenant("ten-a"), func(c *command.CreateTenant) { c.Tenant.Name = "new" }), fault.Conflict},
		"tenant: used name":   {changed(newTenant("ten-z"), func(c *command.CreateTenant) { c.Tenant.Name = "name of ten-a" }), fault.Conflict},
		"tenant: no id":       {newTenant(""), fault.Malformed},
		"tenant: zero byte":   {newTenant("a\x00b"), fault.Malformed},
		"tenant: no name":     {changed(newTenant("ten-z"), func(c *command.CreateTenant) { c.Tenant.Name = "" }), fault.Malformed},
		"tenant: no status":   {changed(newTenant("ten-z"), func(c *command.CreateTenant) { c.Tenant.Status = 0 }), fault.Malformed},
		"context: used name":  {newContext("ten-a", "apple", keyID("apple", 9)), fault.Conflict},
		"context: no tenant":  {newContext("ten-z", "pear", keyID("pear", 9)), fault.NotFound},
		"context: used key":   {newContext("ten-b", "apple", keyID("apple", 3)), fault.Conflict},
		"context: bad name":   {newContext("ten-a", "Pear", keyID("pear", 9)), fault.Malformed},
		"context: bad format": {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Context.Format = 2 }), fault.Malformed},
		"context: number 2": {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) {
			c.Version.Number, c.Context.Versions = 2, 2
		}), fault.Conflict},
		"context: two versions":        {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Context.Versions = 2 }), fault.Malformed},
		"context: other active key":    {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Context.ActiveKey = keyID("pear", 8) }), fault.Malformed},
		"context: version not active":  {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Version.State = keys.PreActivation }), fault.Malformed},
		"context: version used":        {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Version.Leased = 1 }), fault.Malformed},
		"context: version ended":       {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Version.DeactivatedAt = 1 }), fault.Malformed},
		"context: version of another":  {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Version.Context = "apple" }), fault.Malformed},
		"context: other tenant's":      {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Version.Tenant = "ten-b" }), fault.Malformed},
		"context: key id of another":   {newContext("ten-a", "pear", keyID("apple", 9)), fault.Malformed},
		"context: no salt":             {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Version.Salt = nil }), fault.Malformed},
		"context: salt, deterministic": {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Context.Derivation = directory.Deterministic }), fault.Malformed},
		"context: bad version":         {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) { c.Version.Bits = 128 }), fault.Malformed},
		"rotate: same number":          {rotation(1, 9), fault.Conflict},
		"rotate: number too high":      {rotation(3, 9), fault.Conflict},
		"rotate: used key":             {rotation(2, 3), fault.Conflict},
		"rotate: no context":           {command.RotateContext{Version: newVersion("ten-a", "pear", 2, keyID("pear", 9))}, fault.NotFound},
		"rotate: other tenant":         {command.RotateContext{Version: newVersion("ten-b", "apple", 2, keyID("apple", 9))}, fault.NotFound},
		"rotate: not active":           {changed(rotation(2, 9), func(c *command.RotateContext) { c.Version.State = keys.Suspended }), fault.Malformed},
		"rotate: no salt":              {changed(rotation(2, 9), func(c *command.RotateContext) { c.Version.Salt = nil }), fault.Malformed},
		"application: used id":         {newApplication("ten-b", "app-1"), fault.Conflict},
		"application: no tenant":       {newApplication("ten-z", "app-2"), fault.NotFound},
		"application: no id":           {newApplication("ten-a", ""), fault.Malformed},
		"application: no status":       {changed(newApplication("ten-a", "app-2"), func(c *command.CreateApplication) { c.Application.Status = 7 }), fault.Malformed},
		"application: no such context": {newApplication("ten-a", "app-2", "apple", "pear"), fault.NotFound},
		"application: other tenant's":  {newApplication("ten-b", "app-2", "apple"), fault.NotFound},
		"application: granted twice":   {newApplication("ten-a", "app-2", "apple", "apple"), fault.Malformed},
		"user: used id":                {changed(newUser("ten-b", "usr-1"), func(c *command.CreateUser) { c.User.Name = "new" }), fault.Conflict},
		"user: used name":              {changed(newUser("ten-a", "usr-2"), func(c *command.CreateUser) { c.User.Name = "name of usr-1" }), fault.Conflict},
		"user: no tenant":              {newUser("ten-z", "usr-2"), fault.NotFound},
		"user: no id":                  {newUser("ten-a", ""), fault.Malformed},
		"user: no status":              {changed(newUser("ten-a", "usr-2"), func(c *command.CreateUser) { c.User.Status = 0 }), fault.Malformed},
		"session: used":                {newSession("ten-a", "usr-1", 1, 30, 40), fault.Conflict},
		"session: no user":             {newSession("ten-a", "usr-9", 2, 30, 40), fault.NotFound},
		"session: other tenant":        {newSession("ten-b", "usr-1", 2, 30, 40), fault.NotFound},
		"session: ends at once":        {newSession("ten-a", "usr-1", 2, 30, 30), fault.Malformed},
		"refresh: used":                {newRefresh("ten-a", "app-1", "ref-1", 2, 30, 40), fault.Conflict},
		"refresh: no application":      {newRefresh("ten-a", "app-9", "ref-2", 2, 30, 40), fault.NotFound},
		"refresh: other tenant":        {newRefresh("ten-b", "app-1", "ref-2", 2, 30, 40), fault.NotFound},
		"refresh: no id":               {newRefresh("ten-a", "app-1", "", 2, 30, 40), fault.Malformed},
		"refresh: ends at once":        {newRefresh("ten-a", "app-1", "ref-2", 2, 30, 30), fault.Malformed},
		"refresh: rotated before":      {changed(newRefresh("ten-a", "app-1", "ref-2", 2, 30, 40), func(c *command.CreateRefresh) { c.Family.Generation = 1 }), fault.Malformed},
		"refresh: revoked before":      {changed(newRefresh("ten-a", "app-1", "ref-2", 2, 30, 40), func(c *command.CreateRefresh) { c.Family.Revoked = true }), fault.Malformed},
		"rotate refresh: unknown":      {command.RotateRefresh{Family: "ref-9", Presented: hash(1), Next: hash(2), At: 11, ExpiresAt: 40}, fault.Unauthenticated},
		"rotate refresh: expired":      {command.RotateRefresh{Family: "ref-1", Presented: hash(1), Next: hash(2), At: 21, ExpiresAt: 40}, fault.Unauthenticated},
		"rotate refresh: same token":   {command.RotateRefresh{Family: "ref-1", Presented: hash(1), Next: hash(1), At: 11, ExpiresAt: 40}, fault.Malformed},
		"rotate refresh: ends at once": {command.RotateRefresh{Family: "ref-1", Presented: hash(1), Next: hash(2), At: 11, ExpiresAt: 11}, fault.Malformed},
		"lease: unknown key":           {command.LeaseUsage{Key: "key_none_0000000000000000", Count: 1}, fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			db := seeded(t)
			before := newView(db, 0).Digest()
			out := applyAll(t, db, c.command)[0]
			if out.Refused != c.want || out.Detail == "" {
				t.Fatalf("outcome %+v, want %s", out, c.want.Code())
			}
			if newView(db, 0).Digest() != before {
				t.Fatal("a refused command changed the state")
			}
		})
	}
}

func TestFirstCommandMustBeTheCluster(t *testing.T) {
	db := newState()
	empty := newView(db, 0).Digest()
	for _, c := range seed()[1:] {
		if out := applyAll(t, db, c)[0]; out.Refused != fault.Conflict {
			t.Errorf("%T: %+v", c, out)
		}
	}
	if newView(db, 0).Digest() != empty {
		t.Fatal("the state changed")
	}
	if out := applyAll(t, db, changed(newCluster(), func(c *command.CreateCluster) { c.Cluster.ID = "" }))[0]; out.Refused != fault.Malformed {
		t.Fatalf("a cluster without id: %+v", out)
	}
}

// oneOfEachType has commands of all types, some more than once.
func oneOfEachType() []command.Command {
	return slices.Concat(seed(), seedKeys(), everything("ten-z", 9), []command.Command{
		rotation(2, 9), command.RotateRefresh{}, command.LeaseUsage{}, command.RotateKey{}, command.SetKeyDisabled{},
		byOwner(command.LeaseUsage{}), command.SetTenantStatus{}, command.ScheduleTenantDeletion{}, command.DeleteTenant{},
		command.ChangeApplication{}, command.SetApplicationStatus{}, command.SetApplicationKey{}, command.RevokeApplicationTokens{},
		command.DeleteApplication{}, command.RevokeRefresh{}, command.SetUserRoles{}, command.SetUserStatus{}, command.DeleteUser{},
		command.SetPassword{}, command.TouchSession{}, command.EndSession{}, command.EndSessions{}, command.DropInvitation{},
		command.AcceptInvitation{}, command.RedeemDevice{}, command.DeletePolicy{}, command.ChangeContext{},
		command.SetContextStatus{}, command.DeleteContext{}, command.SetVersionState{}, command.ScheduleDestruction{},
		command.DestroyVersion{}, command.SetMinimumVersion{}, command.SetKeyRotation{}, command.DecideApproval{},
		command.CancelApproval{}, command.Tick{}, command.Once{ID: [16]byte{1}, Command: encoded(command.LeaseUsage{})}, newMember("node-1"),
		command.UpdateMember{}, command.RemoveMember{}, command.FinaliseVersion{}, command.ResetMembers{},
		command.SetBackupSchedule{}, command.RecordBackup{},
	}, ofCluster(), []command.Command{command.DropJoinInvitation{}})
}

// TestApplyKnowsEveryType: apply has a rule for every type that can be decoded.
func TestApplyKnowsEveryType(t *testing.T) {
	seen := map[command.Type]bool{}
	for _, c := range oneOfEachType() {
		seen[c.Type()] = true
		applyAll(t, seeded(t), c)
	}
	for typ := command.TypeUnknown + 1; ; typ++ {
		envelope, err := command.Marshal(map[int]any{1: command.Version, 2: uint16(typ), 3: []byte{0xff}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := command.Decode(envelope); isUnknown(err) {
			if int(typ) != len(seen)+1 {
				t.Fatalf("%d types were applied, %d exist", len(seen), typ-1)
			}
			return
		}
		if !seen[typ] {
			t.Fatalf("type %d is not applied here", typ)
		}
	}
}

func TestRotate(t *testing.T) {
	db := seeded(t)
	if out := applyAll(t, db, rotation(2, 8), rotation(3, 9)); out[0].Refused != 0 || out[1].Refused != 0 {
		t.Fatalf("%+v", out)
	}
	v := newView(db, 0).Tenant("ten-a")
	ctx := v.Context("apple")
	if ctx.ActiveKey != keyID("apple", 9) || ctx.Versions != 3 {
		t.Fatalf("%+v", ctx)
	}
	for key, want := range map[int]struct {
		state keys.State
		at    int64
	}{3: {keys.Deactivated, 2000}, 8: {keys.Deactivated, 3000}, 9: {keys.Active, 0}} {
		got := v.Version(keyID("apple", key))
		if got.State != want.state || got.DeactivatedAt != want.at {
			t.Errorf("version %d: %+v", key, got)
		}
	}
}

// TestRotateAwayFromACompromisedVersion: the table of transitions forbids to deactivate it, and rotation must go on.
func TestRotateAwayFromACompromisedVersion(t *testing.T) {
	db := seeded(t)
	txn := db.Txn(true)
	v := newVersion("ten-a", "apple", 1, keyID("apple", 3))
	v.State = keys.Compromised
	put(txn, tableVersions, &v)
	txn.Commit()
	if out := applyAll(t, db, rotation(2, 8))[0]; out.Refused != 0 {
		t.Fatalf("%+v", out)
	}
	if got := newView(db, 0).Tenant("ten-a").Version(keyID("apple", 3)); got.State != keys.Compromised || got.DeactivatedAt != 0 {
		t.Fatalf("%+v", got)
	}
}

func TestDeterministicContext(t *testing.T) {
	c := changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) {
		c.Context.Derivation, c.Version.Salt = directory.Deterministic, nil
	})
	db := seeded(t)
	if out := applyAll(t, db, c)[0]; out.Refused != 0 {
		t.Fatalf("%+v", out)
	}
}

func TestSessionsThatEndedAreDropped(t *testing.T) {
	db := seeded(t) // usr-1 has a session from 10 to 20
	applyAll(t, db, newUser("ten-a", "usr-2"), newSession("ten-a", "usr-2", 2, 1, 5))
	has := func(b byte) bool { return newView(db, 0).Session([32]byte(fill(32, b))) != nil }
	applyAll(t, db, newSession("ten-a", "usr-1", 3, 20, 30))
	if !has(1) || !has(2) || !has(3) {
		t.Fatal("a session went before its end, or one of another user went")
	}
	applyAll(t, db, newSession("ten-a", "usr-1", 4, 21, 40))
	if has(1) || !has(2) || !has(3) || !has(4) {
		t.Fatal("what ended was kept, or what lives was dropped")
	}
}

func TestRefreshFamilies(t *testing.T) {
	hash := func(b byte) [32]byte { return [32]byte(fill(32, b)) }
	db := seeded(t) // ref-1 has token 1 until 20
	family := func() *directory.RefreshFamily { return newView(db, 0).RefreshFamily("ref-1") }

	out := applyAll(t, db, command.RotateRefresh{Family: "ref-1", Presented: hash(1), Next: hash(2), At: 20, ExpiresAt: 40})[0]
	if f := family(); out.Refused != 0 || f.Hash != hash(2) || f.Generation != 1 || f.ExpiresAt != 40 || f.Revoked {
		t.Fatalf("%+v, %+v", out, f)
	}
	out = applyAll(t, db, command.RotateRefresh{Family: "ref-1", Presented: hash(1), Next: hash(3), At: 21, ExpiresAt: 50})[0]
	if f := family(); out.Refused != fault.Unauthenticated || f.Hash != hash(2) || !f.Revoked {
		t.Fatalf("reuse: %+v, %+v", out, f)
	}
	out = applyAll(t, db, command.RotateRefresh{Family: "ref-1", Presented: hash(2), Next: hash(3), At: 22, ExpiresAt: 50})[0]
	if f := family(); out.Refused != fault.Unauthenticated || f.Hash != hash(2) {
		t.Fatalf("the newest token of a revoked family: %+v, %+v", out, f)
	}
	applyAll(t, db, newRefresh("ten-a", "app-1", "ref-2", 5, 40, 60))
	if family() == nil {
		t.Fatal("a family went before its end")
	}
	applyAll(t, db, newRefresh("ten-a", "app-1", "ref-3", 6, 41, 60))
	if family() != nil || newView(db, 0).RefreshFamily("ref-2") == nil {
		t.Fatal("a family that ended was kept, or a living one dropped")
	}
}

func TestLeaseStopsAtTheLimit(t *testing.T) {
	db := seeded(t)
	lease := func(n uint64) command.Outcome {
		return applyAll(t, db, command.LeaseUsage{Key: keyID("apple", 3), Count: n})[0]
	}
	for _, c := range []struct{ ask, granted, total uint64 }{
		{0, 0, 0},
		{100, 100, 100},
		{keys.GCMRandomNonceLimit - 101, keys.GCMRandomNonceLimit - 101, keys.GCMRandomNonceLimit - 1},
		{1 << 63, 1, keys.GCMRandomNonceLimit},
		{1, 0, keys.GCMRandomNonceLimit},
		{^uint64(0), 0, keys.GCMRandomNonceLimit},
	} {
		if got := lease(c.ask); !reflect.DeepEqual(got, command.Outcome{Granted: c.granted, Total: c.total}) {
			t.Fatalf("asked for %d: %+v", c.ask, got)
		}
	}
}

func TestDeactivatedVersionGrantsNothing(t *testing.T) {
	db := seeded(t)
	out := applyAll(t, db, command.LeaseUsage{Key: keyID("apple", 3), Count: 5}, rotation(2, 9),
		command.LeaseUsage{Key: keyID("apple", 3), Count: 5})
	if out[2] != (command.Outcome{Total: 5}) {
		t.Fatalf("%+v", out[2])
	}
}

func TestViews(t *testing.T) {
	v := newView(seeded(t), 7)
	a, b := v.Tenant("ten-a"), v.Tenant("ten-b")
	if v.Applied() != 7 || v.Cluster().ID != newCluster().Cluster.ID || a.Record().ID != "ten-a" {
		t.Fatal("the cluster or a tenant is wrong")
	}
	if v.Application("app-1").Tenant != "ten-a" || v.RefreshFamily("ref-1") == nil || v.Session([32]byte(fill(32, 1))) == nil {
		t.Fatal("a credential is not found")
	}
	if a.Context(secretContext).Tenant != "ten-a" || b.Context(secretContext).Tenant != "ten-b" || a.User("usr-1") == nil {
		t.Fatal("a record of a tenant is not found")
	}
	names := []string{}
	for _, c := range a.Contexts() {
		names = append(names, c.Name)
	}
	if !reflect.DeepEqual(names, []string{"apple", secretContext}) {
		t.Fatalf("contexts of ten-a: %v", names)
	}
	none := v.Tenant("ten")
	if none == nil || none.Record() != nil || none.Context("apple") != nil || len(none.Contexts()) != 0 || none.User("usr-1") != nil {
		t.Fatal("an unknown tenant finds something")
	}
	if b.Version(keyID("apple", 3)) != nil || b.User("usr-1") != nil || b.Context("apple") != nil {
		t.Fatal("a tenant finds what belongs to another")
	}
	if a.Version(keyID("apple", 3)) == nil || a.Version("") != nil || a.Context("") != nil || v.Application("") != nil ||
		v.Application("app") != nil || v.Session([32]byte{}) != nil || newView(newState(), 0).Cluster() != nil {
		t.Fatal("a missing record is not nil, or a present one is")
	}
}

// TestViewStaysAsItWas: a view does not move with the state.
func TestViewStaysAsItWas(t *testing.T) {
	db := seeded(t)
	before := newView(db, 0)
	digest := before.Digest()
	applyAll(t, db, rotation(2, 9))
	if before.Digest() != digest || before.Tenant("ten-a").Context("apple").Versions != 1 {
		t.Fatal("an old view shows new state")
	}
	if newView(db, 0).Digest() == digest {
		t.Fatal("a new view does not")
	}
}

package cluster

import (
	"fmt"

	"pgregory.net/rapid"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// drawCommand draws a command over few ids, and often about records that a state has, so that many succeed, many conflict and
// many refer to what others made.
func drawCommand(t *rapid.T, v *View) command.Command {
	d := newDrawn(t, v)
	switch choose(t, "area", 9) {
	case 0:
		return d.creation()
	case 1:
		return d.ofKeys()
	case 2:
		return d.ofTenants()
	case 3:
		return d.ofUsers()
	case 4:
		return d.ofApprovals()
	case 5:
		return d.ofJoins()
	case 6:
		return d.ofMembers()
	case 7:
		return d.once()
	default:
		return d.guarded()
	}
}

// ofMembers is about members, mostly some that there are.
func (d *drawn) ofMembers() command.Command {
	id := d.pick("node", "node-1", joinNodeID(1), joinNodeID(2))
	if m := one(d, "member", d.v.Members()); m != nil {
		id = m.ID
	}
	switch choose(d.t, "member command", 7) {
	case 0:
		return newMember(id)
	case 1:
		return command.RemoveMember{ID: id, At: d.from + 1}
	case 2:
		return command.FinaliseVersion{Version: uint32(choose(d.t, "version", 3))}
	case 3:
		return command.ResetMembers{Survivor: id, At: d.from + 1}
	case 4:
		return command.Tick{Refreshes: []command.Refresh{{Node: id, Nonce: [16]byte{d.hash}}}, Mark: d.hash == 1}
	default:
		return command.UpdateMember{
			ID: id, Address: d.pick("address", "192.0.2.1:8444", "192.0.2.2:8444", "192.0.2.3:8444"), CommandVersion: uint32(choose(d.t, "version", 3)),
		}
	}
}

// once is one of few proposals, which come again and with other commands.
func (d *drawn) once() command.Command {
	c := command.Once{ID: [16]byte{d.hash}, After: uint64(choose(d.t, "after", 9))}
	switch choose(d.t, "once", 3) {
	case 0:
		c.Command = encoded(d.ofKeys())
	case 1:
		c.Command = encoded(d.guarded())
	default:
		c.Command = encoded(command.RemoveMember{ID: joinNodeID(2), At: 5})
	}
	return c
}

// ofJoins is about an invitation to join or a request, mostly one that there is.
func (d *drawn) ofJoins() command.Command {
	n := choose(d.t, "join", 4) + 1
	switch choose(d.t, "join command", 5) {
	case 0:
		return newJoinInvitation(n, d.from, d.from+1+d.number("life", 20))
	case 1:
		return command.DropJoinInvitation{ID: joinCodeID(n)}
	case 2:
		c := newJoin(n, d.from, d.from+1+d.number("life", 50))
		if i := one(d, "invitation to join", d.v.JoinInvitations()); i != nil {
			c.Join.Invitation, c.Join.Hash = i.ID, i.Hash
		}
		return c
	case 3:
		j := one(d, "request to join", d.v.Joins())
		if j == nil {
			return command.DecideJoin{ID: joinID(n), By: d.user, At: d.from}
		}
		return decided(j, choose(d.t, "deny", 4) > 0, d.from)
	default:
		if j := one(d, "request to join", d.v.Joins()); j != nil {
			return command.CompleteJoin{ID: j.ID, At: d.from}
		}
		return command.CompleteJoin{ID: joinID(n), At: d.from}
	}
}

// guarded is a command of a user, often of one who is signed in, with his revision.
func (d *drawn) guarded() command.Command {
	g := command.Guarded{Tenant: d.tenant, User: d.user, Revision: d.revision(), Session: [32]byte(fill(32, d.hash)), At: d.from}
	if s := one(d, "session", all[directory.Session](d.v.txn, tableSessions, indexID)); s != nil {
		d.tenant, d.user = s.Tenant, s.User
		g.Tenant, g.User, g.Session, g.Revision = s.Tenant, s.User, s.Hash, d.v.Tenant(s.Tenant).User(s.User).Revision
	}
	switch choose(d.t, "guarded", 4) {
	case 0:
		g.Command = encoded(d.ofKeys())
	case 1:
		g.Command = encoded(d.ofUsers())
	case 2:
		g.Command = encoded(d.act())
	default:
		g.Command = encoded(d.request(d.act()))
	}
	return g
}

// choose draws a number below n, all about as often. rapid's own generators prefer the lowest.
func choose(t *rapid.T, label string, n int) int {
	i := 0
	for range 6 {
		i <<= 1
		if rapid.Bool().Draw(t, label) {
			i++
		}
	}
	return i % n
}

// drawn holds what the commands of one draw are about.
type drawn struct {
	v                            *View
	t                            *rapid.T
	tenant, context, key, object string
	user, app, family, approval  string
	hash                         byte
	from                         int64
}

func newDrawn(t *rapid.T, v *View) *drawn {
	d := &drawn{t: t, v: v}
	d.tenant = d.pick("tenant", "ten-a", "ten-a", "ten-a", "ten-a", "ten-a", "ten-a", "ten-b", "ten-c")
	d.context = d.pick("context", "apple", "pear")
	d.key = keyID(d.context, choose(t, "key", 16))
	d.object = d.pick("object", "seal", "other")
	d.user = d.pick("user", "usr-1", "usr-2", "usr-3")
	d.app = d.pick("application", "app-1", "app-2")
	d.family = d.pick("family", "ref-1", "ref-2")
	d.approval = d.pick("approval", "approval-1", "approval-2", "approval-3")
	d.hash = byte(choose(t, "hash", 9))
	d.from = int64(choose(t, "from", 51))
	if user := one(d, "user", v.Tenant(d.tenant).Users()); user != nil {
		d.user = user.ID
	}
	if context := one(d, "context", v.Tenant(d.tenant).Contexts()); context != nil {
		d.context = context.Name
	}
	if object := one(d, "object", v.Tenant(d.tenant).Objects()); object != nil {
		d.context, d.object = object.Context, object.Name
	}
	return d
}

// one draws one of the records that there are, nil now and then and when there are none.
func one[R any](d *drawn, label string, records []*R) *R {
	if len(records) == 0 || choose(d.t, "any "+label, 4) == 0 {
		return nil
	}
	return records[choose(d.t, label, len(records))]
}

// existing makes the draw about a version that there is.
func (d *drawn) existing() {
	if k := one(d, "version", d.v.Tenant(d.tenant).Versions()); k != nil {
		d.context, d.key = k.Context, k.ID
		if k.Object != "" {
			d.object = k.Object
		}
	}
}

// next is mostly one more than a number, as rotations and changes need it.
func (d *drawn) next(n uint32) uint32 {
	if choose(d.t, "next", 4) == 0 {
		return uint32(choose(d.t, "number", 4))
	}
	return n + 1
}

// contextVersion is a new version of the context.
func (d *drawn) contextVersion() keys.Version {
	n := uint32(0)
	if c := d.v.Tenant(d.tenant).Context(d.context); c != nil {
		n = c.Versions
	}
	return newVersion(d.tenant, d.context, d.next(n), keyID(d.context, choose(d.t, "new key", 16)))
}

func (d *drawn) pick(label string, of ...string) string {
	return of[choose(d.t, label, len(of))]
}
func (d *drawn) number(label string, high int64) int64 {
	return rapid.Int64Range(0, high).Draw(d.t, label)
}

// revision is 0 more often than not, as most records are never changed.
func (d *drawn) revision() uint32 { return uint32(max(0, choose(d.t, "revision", 6)-3)) }

func (d *drawn) bool(label string) bool { return rapid.Bool().Draw(d.t, label) }
func (d *drawn) until() int64           { return d.from + d.number("life", 20) }
func (d *drawn) h(label string) [32]byte {
	return [32]byte(fill(32, byte(choose(d.t, label, 9))))
}
func (d *drawn) status() directory.Status {
	return []directory.Status{directory.Enabled, directory.Enabled, directory.Disabled, 0}[choose(d.t, "status", 4)]
}
func (d *drawn) roles() []directory.Role {
	return [][]directory.Role{{directory.Owner}, {directory.Viewer}, {directory.Admin, directory.Operator}, nil}[choose(d.t, "roles", 4)]
}

func (d *drawn) creation() command.Command {
	switch choose(d.t, "creation", 10) + 1 {
	case 1:
		return newCluster()
	case 2:
		return newTenant(d.tenant)
	case 3:
		return newContext(d.tenant, d.context, d.key)
	case 4:
		return command.RotateContext{Version: d.contextVersion()}
	case 5:
		return newApplication(d.tenant, d.app, d.context)
	case 6:
		return newUser(d.tenant, d.user)
	case 7:
		return newSession(d.tenant, d.user, d.hash, d.from, d.until())
	case 8:
		return newRefresh(d.tenant, d.app, d.family, d.hash, d.from, d.until())
	case 9:
		return command.RotateRefresh{Family: d.family, Presented: [32]byte(fill(32, d.hash)), Next: d.h("next"), At: d.from, ExpiresAt: d.until()}
	default:
		c := newPolicy(d.tenant, d.pick("policy", "one", "two"))
		c.Create = d.bool("create")
		return c
	}
}

func (d *drawn) ofKeys() command.Command {
	number := uint32(0)
	if o := d.v.Tenant(d.tenant).Object(d.object); o != nil {
		number = o.Versions
	}
	switch choose(d.t, "key command", 12) + 1 {
	case 1:
		c := newKey(d.tenant, d.context, d.object, d.key)
		if d.bool("imported") {
			return imported(c)
		}
		return c
	case 2:
		return command.RotateKey{Version: newObjectVersion(d.tenant, d.context, d.object, d.next(number), d.key)}
	case 3:
		return command.SetKeyDisabled{Tenant: d.tenant, Name: d.object, Disabled: d.bool("disabled")}
	case 4:
		if d.bool("in the token") {
			return tokenImport(d.tenant, importHSM, d.from, d.from+d.number("life", 5000))
		}
		return newImport(d.tenant, d.pick("import", importOne, importTwo), d.from, d.from+d.number("life", 5000))
	case 5:
		c := newLegacy(d.tenant, d.context, d.pick("legacy", legacyOne, d.key), uint32(d.number("master", 2)))
		if d.bool("with master") {
			c.Masters, c.Import = []keys.LegacyMaster{newMaster(d.tenant, c.Keys[0].Master)}, importHSM
		}
		return c
	case 6:
		d.existing()
		return command.LeaseUsage{Key: d.key, Count: uint64(d.number("count", int64(keys.GCMRandomNonceLimit)))}
	case 7:
		d.existing()
		return command.SetVersionState{Tenant: d.tenant, Key: d.key, State: keys.State(choose(d.t, "state", 8)), At: d.from + 1}
	case 8:
		d.existing()
		return command.DestroyVersion{Tenant: d.tenant, Key: d.key, At: 2 * d.from}
	case 9:
		c := command.SetMinimumVersion{Tenant: d.tenant, Context: d.context, Minimum: uint32(d.number("minimum", 3))}
		if d.bool("of an object") {
			c.Object = d.object
		}
		return c
	case 10:
		d.existing()
		return command.MergeUsage{Usage: []keys.Usage{{Key: d.key, Tenant: d.tenant, Processed: 1, LastProcess: d.from}}}
	case 11:
		return command.SetKeyRotation{Tenant: d.tenant, Name: d.object, Days: 3}
	default:
		c := command.ChangeContext{Context: newContext(d.tenant, d.context, d.key).Context}
		if before := d.v.Tenant(d.tenant).Context(d.context); before != nil {
			c.Context.Revision = before.Revision
		}
		c.Context.Revision = d.next(c.Context.Revision)
		if d.bool("with a version") {
			v := d.contextVersion()
			c.Version = &v
		}
		return c
	}
}

func (d *drawn) ofTenants() command.Command {
	switch choose(d.t, "tenant command", 10) + 1 {
	case 1:
		return command.SetTenantStatus{Tenant: d.tenant, Status: d.status()}
	case 2:
		return command.DeleteTenant{Tenant: d.tenant, At: 2 * d.from}
	case 3:
		c := command.ChangeApplication{Tenant: d.tenant, Application: d.app}
		if a := d.v.Tenant(d.tenant).Application(d.app); a != nil {
			c.Before = a.Grants
		}
		return c
	case 4:
		return command.SetApplicationStatus{Tenant: d.tenant, Application: d.app, Status: d.status()}
	case 5:
		return command.SetApplicationKey{Tenant: d.tenant, Application: d.app, KeyID: "kid-2", Certificate: fill(32, d.hash)}
	case 6:
		return command.RevokeApplicationTokens{Tenant: d.tenant, Application: d.app, NotBefore: d.from}
	case 7:
		return command.DeleteApplication{Tenant: d.tenant, Application: d.app}
	case 8:
		return command.DeletePolicy{Tenant: d.tenant, Name: d.pick("policy", "one", "two")}
	case 9:
		return command.SetContextStatus{Tenant: d.tenant, Name: d.context, Status: d.status()}
	default:
		return rapid.SampledFrom([]command.Command{
			command.DeleteContext{Tenant: d.tenant, Name: d.context}, command.RevokeRefresh{Tenant: d.tenant, Family: d.family},
		}).Draw(d.t, "end")
	}
}

func (d *drawn) ofUsers() command.Command {
	hash := [32]byte(fill(32, d.hash))
	code := fmt.Sprintf("CODE-%d", d.hash)
	waiting := one(d, "device", all[directory.Device](d.v.txn, tableDevices, indexID))
	if waiting != nil {
		code = waiting.UserCode
	}
	switch choose(d.t, "user command", 13) + 1 {
	case 1:
		return command.SetUserRoles{Tenant: d.tenant, User: d.user, Roles: d.roles()}
	case 2:
		return command.SetUserStatus{Tenant: d.tenant, User: d.user, Status: d.status()}
	case 3:
		return command.DeleteUser{Tenant: d.tenant, User: d.user}
	case 4:
		return command.SetPassword{Tenant: d.tenant, User: d.user, Password: "$x", Keep: d.h("keep")}
	case 5:
		return command.TouchSession{Hash: hash, At: d.from}
	case 6:
		return command.EndSession{Hash: hash}
	case 7:
		return command.EndSessions{Tenant: d.tenant, User: d.user, Keep: d.h("keep")}
	case 8:
		c := newInvitation(d.tenant, d.pick("invitation", "one", "two"), hash, d.from, d.until())
		c.Invitation.CreatedBy = d.user
		return c
	case 9:
		return command.DropInvitation{Tenant: d.tenant, ID: d.pick("invitation", "one", "two")}
	case 10:
		if i := one(d, "invitation", d.v.Tenant(d.tenant).Invitations()); i != nil {
			hash = i.Hash
		}
		return command.AcceptInvitation{Hash: hash, At: d.from, User: newUser(d.tenant, d.pick("newcomer", "usr-3", "usr-4", "usr-5")).User}
	case 11:
		return newDevice(fmt.Sprintf("CODE-%d", d.hash), hash, d.from, d.until())
	case 12:
		return command.DecideDevice{UserCode: code, Tenant: d.tenant, User: d.user, Approve: d.bool("approve"), At: d.from}
	default:
		if waiting != nil {
			hash = waiting.Hash
		}
		return command.RedeemDevice{Hash: hash, Session: newSession(d.tenant, d.user, d.hash, d.from, d.until()).Session}
	}
}

// act is a command that can need approval.
func (d *drawn) act() command.Command {
	switch choose(d.t, "act command", 3) {
	case 0:
		d.existing()
		return command.ScheduleDestruction{Tenant: d.tenant, Key: d.key, At: d.from + 1, Wait: d.number("wait", 5), Cancel: choose(d.t, "cancel", 4) == 0}
	case 1:
		return command.ScheduleTenantDeletion{Tenant: d.tenant, At: d.from + 1, Wait: d.number("wait", 5), Cancel: choose(d.t, "cancel", 4) == 0}
	default:
		c := command.ChangeSettings{Tenant: d.tenant}
		c.Settings.Revision = d.next(d.v.Tenant(d.tenant).Record().Of().Revision)
		for _, act := range directory.Acts {
			if n := choose(d.t, "approvers", 4); n > 0 {
				c.Settings.Approvals = append(c.Settings.Approvals, rule(act, uint8(n/2+1)))
			}
		}
		return c
	}
}

// ofApprovals asks for an act, or is about a request, mostly one that there is.
func (d *drawn) ofApprovals() command.Command {
	if a := one(d, "approval", d.v.Tenant(d.tenant).Approvals()); a != nil {
		d.approval = a.ID
	}
	switch choose(d.t, "approval command", 8) {
	case 0:
		return command.CancelApproval{Tenant: d.tenant, ID: d.approval, User: d.user, At: d.from}
	case 1:
		return d.act()
	case 2, 3:
		return d.request(d.act())
	default:
		return command.DecideApproval{Tenant: d.tenant, ID: d.approval, Decision: directory.Decision{
			User: d.user, At: d.from + 1, Approve: choose(d.t, "against", 6) > 0,
		}}
	}
}

// request asks for the approval of a command where that is an act.
func (d *drawn) request(c command.Command) command.Command {
	act, owner := actOf(c)
	if act == "" {
		return c
	}
	id := d.pick("new approval", "approval-1", "approval-2", "approval-3", "approval-4")
	required := d.v.Tenant(owner).Record().Of().Approvers(act)
	r := newRequest(owner, id, d.user, uint8(d.next(uint32(max(1, required)-1))), act, c)
	r.Approval.CreatedAt, r.Approval.ExpiresAt = d.from, d.from+60
	r.Approval.Revision = d.revision()
	if u := d.v.Tenant(d.tenant).User(d.user); u != nil && d.bool("his revision") {
		r.Approval.Revision = u.Revision
	}
	return r
}

package cluster

import (
	"slices"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// How many invitations of a tenant, and how many sign-ins without a browser, may wait at once.
const (
	maxInvitations = 1000
	maxDevices     = 10_000
)

var (
	noUser       = refused(fault.NotFound, "the user does not exist")
	disabledUser = unauthenticated("disabled", "the user or the tenant is disabled")
	lastOwner    = refused(fault.Conflict, "the tenant would have no owner left: make another user an owner first")
)

func userOf(txn *memdb.Txn, tenant, id string) *directory.User {
	u := first[directory.User](txn, tableUsers, indexID, id)
	if u == nil || u.Tenant != tenant {
		return nil
	}
	return u
}

// isLastOwner reports whether a tenant has no other enabled owner.
func isLastOwner(txn *memdb.Txn, u *directory.User) bool {
	if u.Status != directory.Enabled || !u.Has(directory.Owner) {
		return false
	}
	return !slices.ContainsFunc(all[directory.User](txn, tableUsers, indexName+"_prefix", u.Tenant), func(o *directory.User) bool {
		return o.ID != u.ID && o.Status == directory.Enabled && o.Has(directory.Owner)
	})
}

// maySignIn reports whether a user and his tenant are enabled.
func maySignIn(txn *memdb.Txn, u *directory.User) bool {
	t := first[directory.Tenant](txn, tableTenants, indexID, u.Tenant)
	return u.Status == directory.Enabled && t != nil && t.Status == directory.Enabled
}

// changeUser replaces a user's record by a changed copy with the next revision. What he approved and others still wait for, he
// must approve again.
func changeUser(txn *memdb.Txn, u *directory.User, change func(*directory.User)) {
	next := *u
	change(&next)
	next.Revision++
	put(txn, tableUsers, &next)
	takeBackApprovals(txn, u)
	dropInvitationsOf(txn, u)
}

// dropInvitationsOf withdraws the invitations that a user wrote: he may no longer be allowed to give their roles.
func dropInvitationsOf(txn *memdb.Txn, u *directory.User) {
	for _, i := range all[directory.Invitation](txn, tableInvitations, indexID+"_prefix", u.Tenant) {
		if i.CreatedBy == u.ID {
			drop(txn, tableInvitations, i)
		}
	}
}

func setUserRoles(txn *memdb.Txn, c command.SetUserRoles) command.Outcome {
	u := userOf(txn, c.Tenant, c.User)
	switch {
	case u == nil:
		return noUser
	case !directory.ValidRoles(c.Roles):
		return refused(fault.Malformed, "the roles are not valid")
	case !slices.Contains(c.Roles, directory.Owner) && isLastOwner(txn, u):
		return lastOwner
	}
	changeUser(txn, u, func(n *directory.User) { n.Roles = c.Roles })
	return done
}

func setUserStatus(txn *memdb.Txn, c command.SetUserStatus) command.Outcome {
	u := userOf(txn, c.Tenant, c.User)
	switch {
	case u == nil:
		return noUser
	case !validStatus(c.Status):
		return refused(fault.Malformed, "the user's status is unknown")
	case c.Status != directory.Enabled && isLastOwner(txn, u):
		return lastOwner
	}
	changeUser(txn, u, func(n *directory.User) { n.Status = c.Status })
	if c.Status != directory.Enabled {
		endSignIns(txn, u.ID, [32]byte{})
	}
	return done
}

func deleteUser(txn *memdb.Txn, c command.DeleteUser) command.Outcome {
	u := userOf(txn, c.Tenant, c.User)
	switch {
	case u == nil:
		return noUser
	case isLastOwner(txn, u):
		return lastOwner
	}
	endSignIns(txn, u.ID, [32]byte{})
	takeBackApprovals(txn, u)
	dropUser(txn, u)
	return done
}

// endSignIns ends a user's sessions but one, and what he approved that would become another.
func endSignIns(txn *memdb.Txn, user string, keep [32]byte) {
	dropSessions(txn, user, keep)
	dropDevices(txn, func(d *directory.Device) bool { return d.User == user })
}

func dropDevices(txn *memdb.Txn, which func(*directory.Device) bool) {
	for _, d := range all[directory.Device](txn, tableDevices, indexID) {
		if which(d) {
			drop(txn, tableDevices, d)
		}
	}
}

func dropUser(txn *memdb.Txn, u *directory.User) {
	dropSessions(txn, u.ID, [32]byte{})
	drop(txn, tableUsers, u)
}

// dropSessions ends a user's sessions but one, and the sign-ins that he approved and that are no sessions yet: whoever had one
// of his sessions could have approved them.
func dropSessions(txn *memdb.Txn, user string, keep [32]byte) {
	for _, d := range all[directory.Device](txn, tableDevices, indexID) {
		if d.User == user {
			drop(txn, tableDevices, d)
		}
	}
	for _, s := range all[directory.Session](txn, tableSessions, indexOwner, user) {
		if s.Hash != keep {
			drop(txn, tableSessions, s)
		}
	}
}

func setPassword(txn *memdb.Txn, c command.SetPassword) command.Outcome {
	u := userOf(txn, c.Tenant, c.User)
	switch {
	case u == nil:
		return noUser
	case c.Password == "" || u.Issuer != "":
		return refused(fault.Conflict, "the user signs in at an identity provider, or the password is empty")
	case c.Anew != "" && c.Anew != u.Password:
		return refused(fault.Conflict, "the password was changed meanwhile")
	}
	next := *u
	next.Password, next.PasswordBy = c.Password, c.By
	put(txn, tableUsers, &next)
	if c.Anew == "" {
		endSignIns(txn, u.ID, c.Keep)
	}
	return done
}

func touchSession(txn *memdb.Txn, c command.TouchSession) command.Outcome {
	s := first[directory.Session](txn, tableSessions, indexID, string(c.Hash[:]))
	if s == nil || c.At <= s.SeenAt {
		return done
	}
	next := *s
	next.SeenAt = c.At
	put(txn, tableSessions, &next)
	return done
}

func endSession(txn *memdb.Txn, c command.EndSession) command.Outcome {
	if s := first[directory.Session](txn, tableSessions, indexID, string(c.Hash[:])); s != nil {
		drop(txn, tableSessions, s)
		// Whoever had it could have approved sign-ins that are no sessions yet.
		dropDevices(txn, func(d *directory.Device) bool { return d.User == s.User })
	}
	return done
}

func endSessions(txn *memdb.Txn, c command.EndSessions) command.Outcome {
	u := userOf(txn, c.Tenant, c.User)
	if u == nil {
		return noUser
	}
	endSignIns(txn, u.ID, c.Keep)
	return done
}

func createInvitation(txn *memdb.Txn, c command.CreateInvitation) command.Outcome {
	i := c.Invitation
	switch {
	case !validKey(i.ID) || !directory.ValidRoles(i.Roles) || len(i.Email) > directory.EmailMax || i.ExpiresAt <= i.CreatedAt:
		return refused(fault.Malformed, "the invitation is not valid")
	case !validKey(i.Tenant) || first[directory.Tenant](txn, tableTenants, indexID, i.Tenant) == nil:
		return noTenant
	case first[directory.Invitation](txn, tableInvitations, indexID, i.Tenant, i.ID) != nil,
		first[directory.Invitation](txn, tableInvitations, indexCode, string(i.Hash[:])) != nil:
		return refused(fault.Conflict, "the invitation exists already")
	}
	waiting := 0
	for _, old := range all[directory.Invitation](txn, tableInvitations, indexID+"_prefix", i.Tenant) {
		if old.ExpiresAt >= i.CreatedAt {
			waiting++
		}
	}
	if waiting >= maxInvitations {
		return refused(fault.Conflict, "too many invitations wait: withdraw some, or wait until they expire")
	}
	for _, old := range all[directory.Invitation](txn, tableInvitations, indexID+"_prefix", i.Tenant) {
		if old.ExpiresAt < i.CreatedAt {
			drop(txn, tableInvitations, old)
		}
	}
	put(txn, tableInvitations, &i)
	return done
}

func dropInvitation(txn *memdb.Txn, c command.DropInvitation) command.Outcome {
	i := first[directory.Invitation](txn, tableInvitations, indexID, c.Tenant, c.ID)
	if i == nil {
		return refused(fault.NotFound, "the invitation does not exist")
	}
	drop(txn, tableInvitations, i)
	return done
}

// acceptInvitation makes the user that the invitation is for. It decides tenant and roles, whatever the record says, and ends
// with the user who made it: nobody comes back by a code that he kept.
func acceptInvitation(txn *memdb.Txn, c command.AcceptInvitation) command.Outcome {
	i := first[directory.Invitation](txn, tableInvitations, indexCode, string(c.Hash[:]))
	if i == nil || i.ExpiresAt <= c.At {
		return unauthenticated("invitation", "the invitation is unknown, used or over")
	}
	t := first[directory.Tenant](txn, tableTenants, indexID, i.Tenant)
	maker := first[directory.User](txn, tableUsers, indexID, i.CreatedBy)
	if t == nil || t.Status != directory.Enabled || i.CreatedBy != "" && (maker == nil || maker.Status != directory.Enabled) {
		return unauthenticated("invitation", "the invitation is unknown, used or over")
	}
	if maker != nil && maker.Tenant != i.Tenant && (!maker.Has(directory.Operator) || hasOwner(txn, i.Tenant)) {
		// An operator invites the first owner of a tenant, and nobody after him.
		return unauthenticated("invitation", "the invitation is unknown, used or over")
	}
	u := c.User
	u.Tenant, u.Roles, u.Status, u.Revision = i.Tenant, i.Roles, directory.Enabled, 0
	if out := addUser(txn, &u); out.Refused != 0 {
		return out
	}
	drop(txn, tableInvitations, i)
	return done
}

// hasOwner reports whether a tenant has an owner, enabled or not.
func hasOwner(txn *memdb.Txn, tenant string) bool {
	return slices.ContainsFunc(all[directory.User](txn, tableUsers, indexName+"_prefix", tenant), func(u *directory.User) bool {
		return u.Has(directory.Owner)
	})
}

func createDevice(txn *memdb.Txn, c command.CreateDevice) command.Outcome {
	d := c.Device
	switch {
	case !validKey(d.UserCode) || d.State != directory.DevicePending || d.User != "" || d.Tenant != "" || d.ExpiresAt <= d.CreatedAt:
		return refused(fault.Malformed, "the sign-in is not valid")
	case first[directory.Device](txn, tableDevices, indexID, string(d.Hash[:])) != nil,
		first[directory.Device](txn, tableDevices, indexCode, d.UserCode) != nil:
		return refused(fault.Conflict, "the sign-in exists already")
	}
	waiting := all[directory.Device](txn, tableDevices, indexID)
	ended := slices.DeleteFunc(slices.Clone(waiting), func(o *directory.Device) bool { return o.ExpiresAt >= d.CreatedAt })
	if len(waiting)-len(ended) >= maxDevices {
		return refused(fault.RateLimited, "too many sign-ins wait: try again later")
	}
	for _, old := range ended {
		drop(txn, tableDevices, old)
	}
	put(txn, tableDevices, &d)
	return done
}

func decideDevice(txn *memdb.Txn, c command.DecideDevice) command.Outcome {
	d := first[directory.Device](txn, tableDevices, indexCode, c.UserCode)
	u := userOf(txn, c.Tenant, c.User)
	switch {
	case u == nil:
		return noUser
	case !maySignIn(txn, u):
		return disabledUser
	case d == nil || d.State != directory.DevicePending || d.ExpiresAt <= c.At:
		return refused(fault.NotFound, "no sign-in waits under this code")
	}
	next := *d
	next.State, next.User, next.Tenant = directory.DeviceDenied, u.ID, u.Tenant
	if c.Approve {
		next.State = directory.DeviceApproved
	}
	put(txn, tableDevices, &next)
	return done
}

// redeemDevice ends a sign-in in a session. Who approved it must still be there and enabled, and so must his tenant.
func redeemDevice(txn *memdb.Txn, c command.RedeemDevice) command.Outcome {
	d := first[directory.Device](txn, tableDevices, indexID, string(c.Hash[:]))
	if d == nil || d.State != directory.DeviceApproved || d.ExpiresAt <= c.Session.CreatedAt {
		return unauthenticated("device", "the sign-in is unknown, used or over")
	}
	u := userOf(txn, d.Tenant, d.User)
	if u == nil || !maySignIn(txn, u) {
		return unauthenticated("device", "the sign-in is unknown, used or over")
	}
	s := c.Session
	s.User, s.Tenant = u.ID, u.Tenant
	if out := createSession(txn, command.CreateSession{Session: s}); out.Refused != 0 {
		return out
	}
	drop(txn, tableDevices, d)
	return done
}

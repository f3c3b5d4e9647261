package engine_test

import (
	"crypto/sha256"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/policy"
)

// now is the world's clock.
func (w *world) now() time.Time {
	if at := w.frozen.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Now().Add(time.Duration(w.clock.Load()))
}

// userNamed makes a user of the world's tenant with a session, and returns a call of his.
func (w *world) userNamed(name string, roles ...directory.Role) *engine.Call {
	w.t.Helper()
	user, err := w.engine.CreateUser(w.t.Context(), w.appliance(w.tenant), name, roles)
	if err != nil {
		w.t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(user.ID))
	session := directory.Session{Hash: hash, User: user.ID, Tenant: w.tenant, CreatedAt: w.now().UnixMilli(), ExpiresAt: 1 << 60}
	if err := w.engine.StartSession(w.t.Context(), w.appliance(w.tenant), session); err != nil {
		w.t.Fatal(err)
	}
	return callOf(&policy.Subject{Kind: policy.KindUser, ID: user.ID, Tenant: w.tenant, Session: hash})
}

// beforeNext runs act before the next command of the engine enters the log.
func (w *world) beforeNext(act func()) {
	w.ledger.onPropose = func(command.Command) error {
		w.ledger.onPropose = nil
		act()
		return nil
	}
}

func (w *world) rotations(context string) uint32 {
	return w.ledger.Node.View().Tenant(w.tenant).Context(context).Versions
}

func setRoles(c *engine.Call, roles ...directory.Role) command.Command {
	return command.SetUserRoles{Tenant: c.Subject.Tenant, User: c.Subject.ID, Roles: roles}
}

func disableUser(c *engine.Call) command.Command {
	return command.SetUserStatus{Tenant: c.Subject.Tenant, User: c.Subject.ID, Status: directory.Disabled}
}

func deleteUser(c *engine.Call) command.Command {
	return command.DeleteUser{Tenant: c.Subject.Tenant, User: c.Subject.ID}
}

func endSession(c *engine.Call) command.Command { return command.EndSession{Hash: c.Subject.Session} }

func disableTenant(id string) command.Command {
	return command.SetTenantStatus{Tenant: id, Status: directory.Disabled}
}

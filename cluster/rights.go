package cluster

import (
	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// innermost returns the command that a guard, or what makes it take effect once, holds. ok is false when it cannot be read.
func innermost(c command.Command) (inside command.Command, ok bool) {
	for {
		var err error
		switch outer := c.(type) {
		case command.Once:
			c, err = outer.Inner()
		case command.Guarded:
			c, err = outer.Inner()
		default:
			return c, true
		}
		if err != nil {
			return nil, false
		}
	}
}

// changesRights reports whether a command may have changed a right, a context or a key version's state, so that what was
// decided before it must be decided again. New credentials, counters and requests take nothing away from anyone.
func changesRights(c command.Command) bool {
	c, ok := innermost(c)
	if !ok {
		return true
	}
	switch c.Type() {
	case command.TypeLeaseUsage, command.TypeCreateRefresh, command.TypeRotateRefresh, command.TypeCreateSession,
		command.TypeCreateImport, command.TypeTouchSession, command.TypeCreateInvitation, command.TypeDropInvitation,
		command.TypeCreateDevice, command.TypeDecideDevice, command.TypeRedeemDevice, command.TypeMergeUsage,
		command.TypeRequestApproval, command.TypeCancelApproval, command.TypeRevokeRefresh,
		command.TypeTick, command.TypeAddMember, command.TypeUpdateMember, command.TypeCreateJoinInvitation,
		command.TypeDropJoinInvitation, command.TypeRequestJoin, command.TypeDecideJoin, command.TypeCompleteJoin,
		command.TypeSetBackupSchedule, command.TypeRecordBackup:
		return false
	default:
		return true
	}
}

// takesRights reports whether a command may take a right away, so that whoever proposes it answers only when no node honours the
// right any more. It is true when in doubt.
//
// What is only ever used by a command needs no wait, since commands stand in one order: one-time codes, refresh tokens in
// exchange, budgets, requests. A rotation takes nothing away: what is encrypted under the version before stays as good as it was.
func takesRights(c command.Command) bool {
	c, ok := innermost(c)
	if !ok {
		return true
	}
	switch c := c.(type) {
	case command.SetKeyDisabled:
		return c.Disabled
	case command.SetTenantStatus:
		return c.Status != directory.Enabled
	case command.SetApplicationStatus:
		return c.Status != directory.Enabled
	case command.SetUserStatus:
		return c.Status != directory.Enabled
	case command.SetContextStatus:
		return c.Status != directory.Enabled
	case command.SetVersionState:
		return c.State != keys.Active
	case command.ScheduleTenantDeletion:
		return !c.Cancel
	case command.ScheduleDestruction:
		return !c.Cancel
	case command.DecideApproval:
		return c.Decision.Approve // it may carry out the act
	}
	switch c.Type() {
	case command.TypeCreateCluster, command.TypeCreateTenant, command.TypeCreateContext, command.TypeRotateContext,
		command.TypeCreateApplication, command.TypeCreateUser, command.TypeCreateSession, command.TypeCreateRefresh,
		command.TypeRotateRefresh, command.TypeLeaseUsage, command.TypeCreateKey, command.TypeRotateKey, command.TypeCreateImport,
		command.TypeImportLegacy, command.TypeTouchSession, command.TypeCreateInvitation, command.TypeDropInvitation,
		command.TypeAcceptInvitation, command.TypeCreateDevice, command.TypeDecideDevice, command.TypeRedeemDevice,
		command.TypeMergeUsage, command.TypeSetKeyRotation, command.TypeRequestApproval, command.TypeCancelApproval,
		command.TypeTick, command.TypeAddMember, command.TypeCreateJoinInvitation, command.TypeDropJoinInvitation,
		command.TypeRequestJoin, command.TypeDecideJoin, command.TypeCompleteJoin, command.TypeUpdateMember,
		command.TypeFinaliseVersion, command.TypeSetBackupSchedule, command.TypeRecordBackup:
		return false
	default:
		return true
	}
}

// changesCluster reports whether a command changes the record of the cluster or one of a member.
func changesCluster(c command.Command) bool {
	switch c.Type() {
	case command.TypeCreateCluster, command.TypeAddMember, command.TypeCompleteJoin, command.TypeRemoveMember,
		command.TypeUpdateMember, command.TypeFinaliseVersion, command.TypeResetMembers:
		return true
	default:
		return false
	}
}

// removesKeys reports whether a command removes key material from the state, which older entries of the log and older snapshots
// still hold.
func removesKeys(c command.Command) bool {
	c, ok := innermost(c)
	if !ok {
		return true
	}
	switch c.Type() {
	case command.TypeDestroyVersion, command.TypeDeleteTenant:
		return true
	default:
		return false
	}
}

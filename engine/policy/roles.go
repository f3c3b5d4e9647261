package policy

import (
	"slices"

	"cryptoserve/engine/directory"
)

// What the roles add to each other.
var (
	// selfActions are what every user does for himself.
	selfActions = []Action{WhoAmI, ListSessions, EndSession, ChangePassword, DecideDevice, Logout, ListRoles, ListAlgorithms, ReadFIPS}
	// readActions show the records of a tenant.
	readActions = []Action{
		ListContexts, ExplainContext, ListKeys, ReadKey, ListVersions, KeyUsage, ListPolicies, ReadPolicy, TestPolicy, ReadSettings,
		ListApplications, ReadApplication, ReadTokens, VerifyToken, ListApprovals, ReadApproval,
	}
	// ownActions are what a developer may do with applications that he made.
	ownActions = []Action{ChangeApplication, DisableApplication, EnableApplication, DeleteApplication, RotateTokens, RevokeTokens}
	// developActions make applications.
	developActions = []Action{CreateApplication, RegisterApplication}
	// clusterReadActions show the cluster itself.
	clusterReadActions = []Action{ReadCluster, ListJoins, ReadDigest}
	// manageActions change the records of a tenant.
	manageActions = slices.Concat(developActions, ownActions, []Action{
		CreateContext, ChangeContext, DisableContext, EnableContext, DeleteContext, RotateContext,
		CreateKey, RotateKey, DisableKey, EnableKey, CreateImport, ImportKey, ImportLegacy,
		SuspendVersion, ResumeVersion, DeactivateVersion, CompromiseVersion, DestroyVersion, CancelDestruction,
		SetMinimumVersion, SetKeyRotation,
		CreatePolicy, ChangePolicy, DeletePolicy,
		ListUsers, ReadUser, CreateUser, ChangeRoles, DisableUser, EnableUser, DeleteUser, ResetPassword, EndUserSessions,
		ListInvitations, CreateInvitation, DropInvitation,
		DecideApproval, CancelApproval,
	})
)

// roleActions is the table role x action: specification section 14.4 and DESIGN section 8. What it does not list is refused.
var roleActions = map[directory.Role][]Action{
	directory.Viewer:    slices.Concat(selfActions, readActions),
	directory.Developer: slices.Concat(selfActions, readActions, developActions, ownActions),
	directory.Admin:     slices.Concat(selfActions, readActions, manageActions),
	directory.Owner:     slices.Concat(selfActions, readActions, manageActions, []Action{ChangeSettings}),
	directory.Operator: slices.Concat(selfActions, []Action{
		ListTenants, CreateTenant, DisableTenant, EnableTenant, DeleteTenant, RestoreTenant, CancelApproval,
		InviteMember, DropJoinInvitation, DecideJoin, RemoveMember, TransferLeadership, FinaliseVersion,
		RehearseBackup, RestoreBackup, SetBackupSchedule, CreateBackup,
	}, clusterReadActions, []Action{ListBackups}),
	directory.Auditor: slices.Concat(selfActions, readActions, []Action{ListTenants, ListUsers, ReadUser, ListInvitations, ListBackups},
		clusterReadActions),
	directory.Backup: slices.Concat(selfActions, []Action{ListBackups, CreateBackup, ReadBackup}),
}

// applianceActions is what the appliance does by itself.
var applianceActions = []Action{
	CreateCluster, CreateTenant, CreateContext, CreateApplication, CreateUser, IssueToken, RotateContext, RotateKey,
	PurgeTenant, ShredVersion, MergeUsage, CreatePolicy, UpdateMember, CreateBackup, RehearseBackup,
}

// UserMay reports whether one of the roles allows the action.
func UserMay(roles []directory.Role, a Action) bool {
	return slices.ContainsFunc(roles, func(r directory.Role) bool { return slices.Contains(roleActions[r], a) })
}

// OnlyOwn reports whether the roles allow the action for records that the user made himself, and for no others.
func OnlyOwn(roles []directory.Role, a Action) bool {
	return slices.Contains(ownActions, a) && UserMay(roles, a) && !slices.ContainsFunc(roles, func(r directory.Role) bool {
		return r != directory.Developer && slices.Contains(roleActions[r], a)
	})
}

// MayGrant reports whether a user with these roles may grant a context to an application: administrators any, developers
// those that are open to them.
func MayGrant(roles []directory.Role, c *directory.Context) bool {
	return slices.Contains(roles, directory.Admin) || slices.Contains(roles, directory.Owner) ||
		slices.Contains(roles, directory.Developer) && c.SelfService
}

// MayExempt reports whether a user with these roles may let an application get round a safeguard of its tenant: by a grant to
// process with compromised keys, or by a budget of its own.
func MayExempt(roles []directory.Role) bool {
	return slices.Contains(roles, directory.Admin) || slices.Contains(roles, directory.Owner)
}

// MayAssign reports whether a user with these roles may give a role to somebody, or take it away: nobody raises himself.
// Administrators make viewers and developers, owners all roles of a tenant, and only operators those of the appliance.
func MayAssign(roles []directory.Role, r directory.Role) bool {
	has := func(r directory.Role) bool { return slices.Contains(roles, r) }
	switch r {
	case directory.Viewer, directory.Developer:
		return has(directory.Admin) || has(directory.Owner)
	case directory.Admin, directory.Owner:
		return has(directory.Owner)
	case directory.Operator, directory.Auditor, directory.Backup:
		return has(directory.Operator)
	default:
		return false
	}
}

// Actions returns the actions of a role, in order of their place in the table.
func Actions(r directory.Role) []Action { return slices.Clone(roleActions[r]) }

// RolesFor returns the roles that allow an action, the weakest first.
func RolesFor(a Action) []directory.Role {
	return slices.DeleteFunc(slices.Clone(directory.Roles), func(r directory.Role) bool { return !slices.Contains(roleActions[r], a) })
}

// ApplianceMay reports whether the appliance itself may do the action.
func ApplianceMay(a Action) bool { return slices.Contains(applianceActions, a) }

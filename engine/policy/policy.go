// Package policy decides who may do what. A decision is a pure function of an authenticated subject, an action and the
// records it touches; nothing a ciphertext or a request says about itself takes part.
package policy

import (
	"slices"
	"time"

	"cryptoserve/engine/directory"
)

// SubjectKind tells what a subject is. The zero kind is unknown and may do nothing.
type SubjectKind uint8

// The kinds of subject.
const (
	KindUnknown SubjectKind = iota
	KindApplication
	KindUser
	// KindAppliance is the appliance itself: while it makes a new cluster, and for duties such as rotation by count. No
	// credential leads to it.
	KindAppliance
)

func (k SubjectKind) String() string {
	switch k {
	case KindApplication:
		return "application"
	case KindUser:
		return "user"
	case KindAppliance:
		return "appliance"
	default:
		return "unknown"
	}
}

// Subject is who makes a call, authenticated. It is immutable and shared by all calls made with one credential.
type Subject struct {
	Kind   SubjectKind
	ID     string
	Tenant string
	// Credential is the key id (applications) the token was signed with: the record must still carry it.
	Credential string
	// Session is the hash of the session token (users).
	Session [32]byte
	// Narrowed limits an application to these contexts whatever its record grants. Nil means not narrowed.
	Narrowed []string
	Expires  time.Time
}

// Action is something a subject may be allowed to do. The names stand in the audit log.
type Action string

// The actions.
const (
	Encrypt       Action = "crypto.encrypt"
	Decrypt       Action = "crypto.decrypt"
	ListContexts  Action = "context.list"
	RotateContext Action = "context.rotate"
	RefreshToken  Action = "token.refresh"
	// The following are done by the appliance itself only, so far.
	CreateCluster     Action = "cluster.create"
	CreateTenant      Action = "tenant.create"
	CreateContext     Action = "context.create"
	CreateApplication Action = "application.create"
	CreateUser        Action = "user.create"
	IssueToken        Action = "token.issue"
	// Request is a call that was refused before it was known what it asked for.
	Request Action = "request"
)

// roleActions is the table role x action for users.
var roleActions = map[directory.Role][]Action{
	directory.Viewer:    {ListContexts},
	directory.Developer: {ListContexts},
	directory.Admin:     {ListContexts, RotateContext},
	directory.Owner:     {ListContexts, RotateContext},
	directory.Auditor:   {ListContexts},
}

// applianceActions is what the appliance does by itself.
var applianceActions = []Action{CreateCluster, CreateTenant, CreateContext, CreateApplication, CreateUser, IssueToken, RotateContext}

// UserMay reports whether one of the roles allows the action.
func UserMay(roles []directory.Role, a Action) bool {
	return slices.ContainsFunc(roles, func(r directory.Role) bool { return slices.Contains(roleActions[r], a) })
}

// ApplianceMay reports whether the appliance itself may do the action.
func ApplianceMay(a Action) bool { return slices.Contains(applianceActions, a) }

// ApplicationMay reports whether an application may do an action on a context of its tenant: its record must grant the
// use and its token must not exclude the context.
func ApplicationMay(s *Subject, app *directory.Application, a Action, context string) bool {
	if a == ListContexts {
		return true
	}
	if s.Narrowed != nil && !slices.Contains(s.Narrowed, context) {
		return false
	}
	g, ok := app.Grant(context)
	if !ok {
		return false
	}
	switch a {
	case Encrypt:
		return g.Encrypt
	case Decrypt:
		return g.Decrypt
	default:
		return false
	}
}

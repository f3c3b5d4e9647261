// Package policy decides who may do what. A decision is a pure function of an authenticated subject, an action and the
// records it touches; nothing a ciphertext or a request says about itself takes part.
package policy

import (
	"slices"
	"time"

	"cryptoserve/engine/algs"
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
	Encrypt        Action = "crypto.encrypt"
	Decrypt        Action = "crypto.decrypt"
	EncryptStream  Action = "crypto.encrypt-stream"
	DecryptStream  Action = "crypto.decrypt-stream"
	EncryptBatch   Action = "crypto.encrypt-batch"
	DecryptBatch   Action = "crypto.decrypt-batch"
	Rewrap         Action = "crypto.rewrap"
	RewrapBatch    Action = "crypto.rewrap-batch"
	DataKey        Action = "crypto.datakey"
	DataKeyWrapped Action = "crypto.datakey-wrapped"
	Sign           Action = "crypto.sign"
	Verify         Action = "crypto.verify"
	MAC            Action = "crypto.mac"
	VerifyMAC      Action = "crypto.mac-verify"
	Encapsulate    Action = "crypto.kem-encapsulate"
	Decapsulate    Action = "crypto.kem-decapsulate"
	Agree          Action = "crypto.agree"
	KeyEncrypt     Action = "crypto.key-encrypt"
	KeyDecrypt     Action = "crypto.key-decrypt"
	// The following work on what the request holds, without a key of the appliance.
	Hash           Action = "crypto.hash"
	DeriveKey      Action = "crypto.kdf"
	Random         Action = "crypto.random"
	HashPassword   Action = "crypto.password-hash"
	VerifyPassword Action = "crypto.password-verify"

	ListAlgorithms Action = "algorithm.list"
	ReadFIPS       Action = "system.fips"
	ListContexts   Action = "context.list"
	CreateContext  Action = "context.create"
	RotateContext  Action = "context.rotate"
	ListKeys       Action = "key.list"
	ReadKey        Action = "key.read"
	CreateKey      Action = "key.create"
	RotateKey      Action = "key.rotate"
	DisableKey     Action = "key.disable"
	EnableKey      Action = "key.enable"
	CreateImport   Action = "key.import-begin"
	ImportKey      Action = "key.import"
	ImportLegacy   Action = "legacy.import"
	RefreshToken   Action = "token.refresh"
	// The following are done by the appliance itself only, so far.
	CreateCluster     Action = "cluster.create"
	CreateTenant      Action = "tenant.create"
	CreateApplication Action = "application.create"
	CreateUser        Action = "user.create"
	IssueToken        Action = "token.issue"
	// Request is a call that was refused before it was known what it asked for.
	Request Action = "request"
)

// What the roles add to each other.
var (
	readActions   = []Action{ListContexts, ListKeys, ReadKey, ListAlgorithms, ReadFIPS}
	manageActions = slices.Concat(readActions, []Action{
		CreateContext, RotateContext, CreateKey, RotateKey, DisableKey, EnableKey, CreateImport, ImportKey, ImportLegacy,
	})
)

// roleActions is the table role x action for users.
var roleActions = map[directory.Role][]Action{
	directory.Viewer:    readActions,
	directory.Developer: readActions,
	directory.Admin:     manageActions,
	directory.Owner:     manageActions,
	directory.Auditor:   readActions,
	directory.Operator:  {ListAlgorithms, ReadFIPS},
}

// applianceActions is what the appliance does by itself.
var applianceActions = []Action{CreateCluster, CreateTenant, CreateContext, CreateApplication, CreateUser, IssueToken, RotateContext, RotateKey}

// need is what an application must have been granted in a context for an action.
type need uint8

const (
	needNothing need = iota + 1 // being an application is enough: no key of the appliance is used
	needEncrypt                 // to protect
	needDecrypt                 // to process
	needEither                  // to use the public half of a key, or to know of it
	needBoth
)

// needs is the table of what applications may do. An action that is not in it is not for them.
var needs = map[Action]need{
	Encrypt: needEncrypt, EncryptStream: needEncrypt, EncryptBatch: needEncrypt, DataKey: needEncrypt,
	DataKeyWrapped: needEncrypt, Sign: needEncrypt, MAC: needEncrypt,
	Decrypt: needDecrypt, DecryptStream: needDecrypt, DecryptBatch: needDecrypt, Decapsulate: needDecrypt, Agree: needDecrypt,
	KeyDecrypt: needDecrypt,
	Rewrap:     needBoth, RewrapBatch: needBoth,
	Verify: needEither, VerifyMAC: needEither, Encapsulate: needEither, KeyEncrypt: needEncrypt, ReadKey: needEither,
	ListContexts: needNothing, ListKeys: needNothing, ListAlgorithms: needNothing, ReadFIPS: needNothing, Hash: needNothing,
	DeriveKey: needNothing, Random: needNothing, HashPassword: needNothing, VerifyPassword: needNothing,
}

// UserMay reports whether one of the roles allows the action.
func UserMay(roles []directory.Role, a Action) bool {
	return slices.ContainsFunc(roles, func(r directory.Role) bool { return slices.Contains(roleActions[r], a) })
}

// ApplianceMay reports whether the appliance itself may do the action.
func ApplianceMay(a Action) bool { return slices.Contains(applianceActions, a) }

// ApplicationMay reports whether an application may do an action on a context of its tenant: its record must grant the
// use and its token must not exclude the context. The context is empty for an action that has none.
func ApplicationMay(s *Subject, app *directory.Application, a Action, context string) bool {
	n := needs[a]
	if n == needNothing {
		return true
	}
	if s.Narrowed != nil && !slices.Contains(s.Narrowed, context) {
		return false
	}
	g, ok := app.Grant(context)
	if !ok {
		return false
	}
	switch n {
	case needEncrypt:
		return g.Encrypt
	case needDecrypt:
		return g.Decrypt
	case needEither:
		return g.Encrypt || g.Decrypt
	case needBoth:
		return g.Encrypt && g.Decrypt
	default:
		return false
	}
}

// Algorithm reports whether a context's algorithm policy lets a request take another algorithm than the context's own, and
// what the caller is told of it.
func Algorithm(c *directory.Context, row algs.Row) (warning string, allowed bool) {
	var against string
	switch {
	case row.SecurityBits < c.MinimumBits:
		against = "has less strength than the context's policy asks for"
	case c.QuantumSafe && !row.QuantumSafe:
		against = "is not quantum-safe, as the context's policy asks"
	case row.Name != c.Algorithm && !slices.Contains(c.Allowed, row.Name):
		against = "is not one that the context's policy lists"
	default:
		return "", true
	}
	switch c.Enforcement {
	case directory.EnforceNone:
		return "", true
	case directory.EnforceWarn:
		return string(row.Name) + " " + against, true
	default:
		return "", false
	}
}

// Package policy decides who may do what. A decision is a pure function of an authenticated subject, an action and the
// records it touches; nothing a ciphertext or a request says about itself takes part.
package policy

import (
	"slices"
	"time"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
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
	// IssuedAt is when the token of an application was issued, in Unix seconds. Certified tells that a client certificate
	// proved it instead, which is proved anew on each connection.
	IssuedAt  int64
	Certified bool
	// Narrowed limits an application to these contexts whatever its record grants. Nil means not narrowed.
	Narrowed []string
	Expires  time.Time
}

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
	VerifyToken: needNothing, ListContexts: needNothing, ListKeys: needNothing, ListAlgorithms: needNothing, ReadFIPS: needNothing, Hash: needNothing,
	DeriveKey: needNothing, Random: needNothing, HashPassword: needNothing, VerifyPassword: needNothing,
}

// ClassOf returns what an action does with a key, keys.ClassUnknown when it uses none: an action that needs no right to
// decrypt protects.
func ClassOf(a Action) keys.Class {
	switch a {
	case Decrypt, DecryptStream, DecryptBatch, Decapsulate, Agree, KeyDecrypt, Verify, VerifyMAC:
		return keys.Process
	case Encrypt, EncryptStream, EncryptBatch, DataKey, DataKeyWrapped, Sign, MAC, Encapsulate, KeyEncrypt, Rewrap, RewrapBatch:
		return keys.Protect
	default:
		return keys.ClassUnknown
	}
}

// KeyActions returns the actions that use a key, in order of name.
func KeyActions() []Action {
	var list []Action
	for a := range needs {
		if ClassOf(a) != keys.ClassUnknown {
			list = append(list, a)
		}
	}
	slices.Sort(list)
	return list
}

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
	case len(c.Ciphers) != 0 && !slices.Contains(c.Ciphers, row.Cipher()):
		against = "is not made of a cipher that the context's policy lists"
	case len(c.Modes) != 0 && !slices.Contains(c.Modes, row.Mode()):
		against = "is not in a mode that the context's policy lists"
	case row.Name != c.Algorithm && !lists(c, row.Name):
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

// lists reports whether a policy names an algorithm, or names none and is content with ciphers and modes.
func lists(c *directory.Context, name algs.Name) bool {
	if len(c.Allowed) == 0 {
		return len(c.Ciphers)+len(c.Modes) != 0
	}
	return slices.Contains(c.Allowed, name)
}

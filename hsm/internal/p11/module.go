package p11

import (
	"crypto"
	"errors"
	"time"

	"github.com/miekg/pkcs11"
)

// Module is an initialised or not yet initialised PKCS#11 module of this process. Its methods are the C_ functions of
// PKCS#11 v2.40 section 5 with the same names and rules, apart from those documented here. Errors are pkcs11.Error
// (a CKR code), possibly wrapped.
//
// Goroutines may share a Module, but not a session. Nobody may call anything while Initialize, InitializeFor or Finalize
// runs: most modules crash the process when they are finalised during a call.
type Module interface {
	// Initialize is C_Initialize for work that needs no signer: making a token, and looking at one.
	Initialize() error
	// InitializeFor is C_Initialize for work on one token, with signers. It keeps one session on the token open until
	// Finalize, so that handles and the login outlive every other session. ErrTokenNotFound when no token has the label.
	InitializeFor(Attach) error
	// Finalize is C_Finalize for either of the two. After it the module may be initialised again.
	Finalize() error

	GetInfo() (pkcs11.Info, error)
	GetSlotList(tokenPresent bool) ([]uint, error)
	GetTokenInfo(slot uint) (pkcs11.TokenInfo, error)
	GetMechanismList(slot uint) ([]*pkcs11.Mechanism, error)
	GetMechanismInfo(slot uint, m []*pkcs11.Mechanism) (pkcs11.MechanismInfo, error)
	InitToken(slot uint, soPIN, label string) error
	InitPIN(s pkcs11.SessionHandle, pin string) error

	OpenSession(slot, flags uint) (pkcs11.SessionHandle, error)
	CloseSession(s pkcs11.SessionHandle) error
	Login(s pkcs11.SessionHandle, userType uint, pin string) error
	Logout(s pkcs11.SessionHandle) error

	// Find is C_FindObjectsInit, C_FindObjects until it gives no more, and C_FindObjectsFinal in every case.
	Find(s pkcs11.SessionHandle, template []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error)
	GetAttributeValue(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) ([]*pkcs11.Attribute, error)
	SetAttributeValue(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) error
	CreateObject(s pkcs11.SessionHandle, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)
	CopyObject(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)
	DestroyObject(s pkcs11.SessionHandle, o pkcs11.ObjectHandle) error

	GenerateKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)
	GenerateKeyPair(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, public, private []*pkcs11.Attribute) (
		pkcs11.ObjectHandle, pkcs11.ObjectHandle, error)
	WrapKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, wrapping, key pkcs11.ObjectHandle) ([]byte, error)
	UnwrapKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, unwrapping pkcs11.ObjectHandle, wrapped []byte,
		a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)

	DeriveKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, base pkcs11.ObjectHandle, a []*pkcs11.Attribute) (
		pkcs11.ObjectHandle, error)

	SignInit(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error
	Sign(s pkcs11.SessionHandle, data []byte) ([]byte, error)
	EncryptInit(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error
	Encrypt(s pkcs11.SessionHandle, plaintext []byte) ([]byte, error)
	DecryptInit(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error
	Decrypt(s pkcs11.SessionHandle, ciphertext []byte) ([]byte, error)
	GenerateRandom(s pkcs11.SessionHandle, n int) ([]byte, error)

	// KeyPair returns a signer for the key pair whose halves both carry this CKA_ID and CKA_LABEL. It uses sessions of
	// its own and dies with the next Finalize. Only after InitializeFor.
	KeyPair(id, label []byte) (crypto.Signer, error)
}

// Attach says which token InitializeFor serves.
type Attach struct {
	TokenLabel string
	// Signers is how many signatures may run at once, at least 1.
	Signers int
	// Wait bounds how long a signer waits for a session of its own.
	Wait time.Duration
}

// ErrTokenNotFound is returned by InitializeFor when no token has the wanted label.
var ErrTokenNotFound = errors.New("no token has this label")

package p11

import (
	"crypto"
	"io"
	"sync"

	"github.com/miekg/pkcs11"
)

// Injector is a Module that passes every call on to another one, and lets a test make chosen calls fail, wait or do
// something first. Goroutines may share it, also while faults are set.
type Injector struct {
	next Module

	mu     sync.Mutex
	faults map[string][]*Fault
	calls  map[string]int
}

// Fault is what happens to the calls of one C_ function.
type Fault struct {
	Err   error  // returned instead of making the call; nil makes the call
	After int    // so many calls pass untouched first
	Times int    // then so many are struck; zero means all
	Hook  func() // runs before a struck call, and may block
}

// NewInjector wraps a Module.
func NewInjector(next Module) *Injector {
	return &Injector{next: next, faults: map[string][]*Fault{}, calls: map[string]int{}}
}

var _ Module = (*Injector)(nil)

// Set adds a fault to a call. Names are those of the C_ functions ("C_Sign"); Find is "C_FindObjects", KeyPair "KeyPair"
// and a signature by the signer it returns "KeyPair.Sign".
func (i *Injector) Set(call string, f Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults[call] = append(i.faults[call], &f)
}

// Clear removes all faults. A Hook that is running goes on.
func (i *Injector) Clear() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.faults)
}

// Calls returns how often a call was made or struck.
func (i *Injector) Calls(call string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls[call]
}

// strike counts the call and returns the error it must fail with, if any.
func (i *Injector) strike(call string) error {
	f := i.match(call)
	if f == nil {
		return nil
	}
	if f.Hook != nil {
		f.Hook()
	}
	return f.Err
}

func (i *Injector) match(call string) *Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls[call]++
	for n, f := range i.faults[call] {
		if f.After > 0 {
			f.After--
			continue
		}
		if f.Times == 1 {
			i.faults[call] = append(i.faults[call][:n:n], i.faults[call][n+1:]...)
		} else if f.Times > 1 {
			f.Times--
		}
		return f
	}
	return nil
}

// run0 and run1 make one call unless a fault strikes it.
func run0(i *Injector, call string, f func() error) error {
	if err := i.strike(call); err != nil {
		return err
	}
	return f()
}

func run1[T any](i *Injector, call string, f func() (T, error)) (T, error) {
	if err := i.strike(call); err != nil {
		var zero T
		return zero, err
	}
	return f()
}

// The methods of Module follow, one line each.

func (i *Injector) Initialize() error { return run0(i, "C_Initialize", i.next.Initialize) }

func (i *Injector) InitializeFor(a Attach) error {
	return run0(i, "C_Initialize", func() error { return i.next.InitializeFor(a) })
}

func (i *Injector) Finalize() error { return run0(i, "C_Finalize", i.next.Finalize) }

func (i *Injector) GetInfo() (pkcs11.Info, error) { return run1(i, "C_GetInfo", i.next.GetInfo) }

func (i *Injector) GetSlotList(present bool) ([]uint, error) {
	return run1(i, "C_GetSlotList", func() ([]uint, error) { return i.next.GetSlotList(present) })
}

func (i *Injector) GetTokenInfo(slot uint) (pkcs11.TokenInfo, error) {
	return run1(i, "C_GetTokenInfo", func() (pkcs11.TokenInfo, error) { return i.next.GetTokenInfo(slot) })
}

func (i *Injector) GetMechanismList(slot uint) ([]*pkcs11.Mechanism, error) {
	return run1(i, "C_GetMechanismList", func() ([]*pkcs11.Mechanism, error) { return i.next.GetMechanismList(slot) })
}

func (i *Injector) GetMechanismInfo(slot uint, m []*pkcs11.Mechanism) (pkcs11.MechanismInfo, error) {
	return run1(i, "C_GetMechanismInfo", func() (pkcs11.MechanismInfo, error) { return i.next.GetMechanismInfo(slot, m) })
}

func (i *Injector) InitToken(slot uint, soPIN, label string) error {
	return run0(i, "C_InitToken", func() error { return i.next.InitToken(slot, soPIN, label) })
}

func (i *Injector) InitPIN(s pkcs11.SessionHandle, pin string) error {
	return run0(i, "C_InitPIN", func() error { return i.next.InitPIN(s, pin) })
}

func (i *Injector) OpenSession(slot, flags uint) (pkcs11.SessionHandle, error) {
	return run1(i, "C_OpenSession", func() (pkcs11.SessionHandle, error) { return i.next.OpenSession(slot, flags) })
}

func (i *Injector) CloseSession(s pkcs11.SessionHandle) error {
	return run0(i, "C_CloseSession", func() error { return i.next.CloseSession(s) })
}

func (i *Injector) Login(s pkcs11.SessionHandle, userType uint, pin string) error {
	return run0(i, "C_Login", func() error { return i.next.Login(s, userType, pin) })
}

func (i *Injector) Logout(s pkcs11.SessionHandle) error {
	return run0(i, "C_Logout", func() error { return i.next.Logout(s) })
}

func (i *Injector) Find(s pkcs11.SessionHandle, a []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	return run1(i, "C_FindObjects", func() ([]pkcs11.ObjectHandle, error) { return i.next.Find(s, a) })
}

func (i *Injector) GetAttributeValue(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) (
	[]*pkcs11.Attribute, error) {
	return run1(i, "C_GetAttributeValue", func() ([]*pkcs11.Attribute, error) { return i.next.GetAttributeValue(s, o, a) })
}

func (i *Injector) SetAttributeValue(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) error {
	return run0(i, "C_SetAttributeValue", func() error { return i.next.SetAttributeValue(s, o, a) })
}

func (i *Injector) CreateObject(s pkcs11.SessionHandle, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	return run1(i, "C_CreateObject", func() (pkcs11.ObjectHandle, error) { return i.next.CreateObject(s, a) })
}

func (i *Injector) CopyObject(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, a []*pkcs11.Attribute) (
	pkcs11.ObjectHandle, error) {
	return run1(i, "C_CopyObject", func() (pkcs11.ObjectHandle, error) { return i.next.CopyObject(s, o, a) })
}

func (i *Injector) DestroyObject(s pkcs11.SessionHandle, o pkcs11.ObjectHandle) error {
	return run0(i, "C_DestroyObject", func() error { return i.next.DestroyObject(s, o) })
}

func (i *Injector) GenerateKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, a []*pkcs11.Attribute) (
	pkcs11.ObjectHandle, error) {
	return run1(i, "C_GenerateKey", func() (pkcs11.ObjectHandle, error) { return i.next.GenerateKey(s, m, a) })
}

func (i *Injector) GenerateKeyPair(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, public, private []*pkcs11.Attribute) (
	pub, priv pkcs11.ObjectHandle, err error) {
	err = run0(i, "C_GenerateKeyPair", func() error {
		pub, priv, err = i.next.GenerateKeyPair(s, m, public, private)
		return err
	})
	return pub, priv, err
}

func (i *Injector) WrapKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, wrapping, key pkcs11.ObjectHandle) (
	[]byte, error) {
	return run1(i, "C_WrapKey", func() ([]byte, error) { return i.next.WrapKey(s, m, wrapping, key) })
}

func (i *Injector) UnwrapKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, unwrapping pkcs11.ObjectHandle,
	wrapped []byte, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	return run1(i, "C_UnwrapKey", func() (pkcs11.ObjectHandle, error) {
		return i.next.UnwrapKey(s, m, unwrapping, wrapped, a)
	})
}

func (i *Injector) DeriveKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, base pkcs11.ObjectHandle,
	a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	return run1(i, "C_DeriveKey", func() (pkcs11.ObjectHandle, error) { return i.next.DeriveKey(s, m, base, a) })
}

func (i *Injector) SignInit(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error {
	return run0(i, "C_SignInit", func() error { return i.next.SignInit(s, m, key) })
}

func (i *Injector) Sign(s pkcs11.SessionHandle, data []byte) ([]byte, error) {
	return run1(i, "C_Sign", func() ([]byte, error) { return i.next.Sign(s, data) })
}

func (i *Injector) EncryptInit(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error {
	return run0(i, "C_EncryptInit", func() error { return i.next.EncryptInit(s, m, key) })
}

func (i *Injector) Encrypt(s pkcs11.SessionHandle, plaintext []byte) ([]byte, error) {
	return run1(i, "C_Encrypt", func() ([]byte, error) { return i.next.Encrypt(s, plaintext) })
}

func (i *Injector) DecryptInit(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error {
	return run0(i, "C_DecryptInit", func() error { return i.next.DecryptInit(s, m, key) })
}

func (i *Injector) Decrypt(s pkcs11.SessionHandle, ciphertext []byte) ([]byte, error) {
	return run1(i, "C_Decrypt", func() ([]byte, error) { return i.next.Decrypt(s, ciphertext) })
}

func (i *Injector) GenerateRandom(s pkcs11.SessionHandle, n int) ([]byte, error) {
	return run1(i, "C_GenerateRandom", func() ([]byte, error) { return i.next.GenerateRandom(s, n) })
}

func (i *Injector) KeyPair(id, label []byte) (crypto.Signer, error) {
	signer, err := run1(i, "KeyPair", func() (crypto.Signer, error) { return i.next.KeyPair(id, label) })
	if err != nil {
		return nil, err
	}
	return injectedSigner{i, signer}, nil
}

type injectedSigner struct {
	i *Injector
	crypto.Signer
}

func (s injectedSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return run1(s.i, "KeyPair.Sign", func() ([]byte, error) { return s.Signer.Sign(rand, digest, opts) })
}

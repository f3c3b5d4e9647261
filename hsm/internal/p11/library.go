package p11

import (
	"crypto"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"unsafe"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// Library is a Module in this process: miekg/pkcs11 for the calls and crypto11 for signers. Both open the same shared
// library, which the dynamic loader maps once, so what one initialises the other uses.
type Library struct {
	*calls
	path     string
	reserved unsafe.Pointer // C memory that lives as long as the process, or nil

	mu      sync.Mutex // guards signers and plain; never held during any other call
	signers *crypto11.Context
	plain   bool
}

// calls keeps miekg's type out of the exported fields: only the methods that Module names are for use.
type calls struct{ *pkcs11.Ctx }

var _ Module = (*Library)(nil)

var loaded = struct {
	sync.Mutex
	byPath map[string]*Library
}{byPath: map[string]*Library{}}

// Load opens the shared library at path, once in the life of the process. A library is never unloaded: the exit code of
// several modules is not fit to run while other threads live.
func Load(path string) (*Library, error) { return LoadWith(path, "") }

// LoadWith is Load for a module that wants a parameter string in pReserved of CK_C_INITIALIZE_ARGS, as NSS softokn does.
// With a parameter only Initialize can be used: crypto11 has no way to pass it on.
func LoadWith(path, parameters string) (*Library, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("open PKCS#11 module %s: %w", path, err)
	}
	loaded.Lock()
	defer loaded.Unlock()
	key := resolved + "\x00" + parameters
	if l := loaded.byPath[key]; l != nil {
		return l, nil
	}
	ctx := pkcs11.New(resolved)
	if ctx == nil {
		return nil, fmt.Errorf("open PKCS#11 module %s: it is not a PKCS#11 library for this machine", path)
	}
	l := &Library{calls: &calls{ctx}, path: resolved}
	if parameters != "" {
		l.reserved = cString(parameters)
	}
	loaded.byPath[key] = l
	return l, nil
}

var errInitialized = errors.New("the PKCS#11 module is already initialized by this process")

// Initialize is C_Initialize with CKF_OS_LOCKING_OK.
func (l *Library) Initialize() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.plain || l.signers != nil {
		return errInitialized
	}
	if err := l.Ctx.Initialize(pkcs11.InitializeWithReserved(l.reserved)); err != nil {
		return err
	}
	l.plain = true
	return nil
}

// InitializeFor lets crypto11 initialise the module, because crypto11 insists on doing it, and on being the one who
// finalises. It is told that the token knows no login: hsm logs in itself, once it has looked at the token's flags, and
// a login counts for every session of the process. So crypto11 never holds the PIN.
func (l *Library) InitializeFor(a Attach) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.plain || l.signers != nil {
		return errInitialized
	}
	if l.reserved != nil {
		return errors.New("a module that needs start parameters cannot serve signers")
	}
	defer func() {
		// crypto11 panics on a token that allows a single session.
		if r := recover(); r != nil {
			err = fmt.Errorf("open the token: %v", r)
		}
	}()
	signers, err := crypto11.Configure(&crypto11.Config{
		Path:              l.path,
		TokenLabel:        a.TokenLabel,
		MaxSessions:       a.Signers + 1, // one is never lent out
		PoolWaitTimeout:   a.Wait,
		LoginNotSupported: true,
	})
	var code pkcs11.Error
	switch {
	case err == nil:
		l.signers = signers
		return nil
	case errors.As(err, &code):
		return err
	default:
		// With a loaded library and a valid Config this is what remains.
		return fmt.Errorf("%w: %q", ErrTokenNotFound, a.TokenLabel)
	}
}

// Finalize is C_Finalize, by whichever of the two initialised.
func (l *Library) Finalize() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.signers != nil:
		err := l.signers.Close()
		l.signers = nil
		return err
	case l.plain:
		l.plain = false
		return l.Ctx.Finalize()
	default:
		return pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
	}
}

// maxFind is how many handles one C_FindObjects may give.
const maxFind = 64

// Find returns the handles of all objects that match.
func (l *Library) Find(s pkcs11.SessionHandle, template []*pkcs11.Attribute) (found []pkcs11.ObjectHandle, err error) {
	if err := l.FindObjectsInit(s, template); err != nil {
		return nil, err
	}
	defer func() {
		if ferr := l.FindObjectsFinal(s); err == nil {
			err = ferr
		}
	}()
	for {
		some, _, err := l.FindObjects(s, maxFind)
		if err != nil {
			return nil, err
		}
		if len(some) == 0 {
			return found, nil
		}
		found = append(found, some...)
	}
}

// UnwrapKey is C_UnwrapKey. miekg/pkcs11 panics on an empty blob; no wrapped key is empty.
func (l *Library) UnwrapKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, unwrapping pkcs11.ObjectHandle,
	wrapped []byte, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	if len(wrapped) == 0 {
		return 0, pkcs11.Error(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE)
	}
	return l.Ctx.UnwrapKey(s, m, unwrapping, wrapped, a)
}

// KeyPair finds a key pair through crypto11.
func (l *Library) KeyPair(id, label []byte) (crypto.Signer, error) {
	l.mu.Lock()
	signers := l.signers
	l.mu.Unlock()
	if signers == nil {
		return nil, pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
	}
	return signers.FindKeyPair(id, label)
}

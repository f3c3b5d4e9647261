package hsm

import (
	"bytes"
	"container/list"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
)

// heldKey is a key that is unwrapped in the token. It lives in the keeper's session and is used from every other one.
type heldKey struct {
	id        [sha256.Size]byte
	handle    pkcs11.ObjectHandle
	permanent bool // an object of the token: found, not unwrapped, and never deleted

	// The keyring's lock guards these.
	place      *list.Element // nil once nobody can find the key any more
	generation uint64
	users      int

	parsed atomic.Pointer[parsedKey]
}

// parsedKey keeps the public key that a caller gave with its last use, because parsing costs as much as a signature does.
type parsedKey struct {
	der []byte
	key crypto.PublicKey
}

// public parses a public key in the form of SubjectPublicKeyInfo, DER (RFC 5280 section 4.1.2.7).
func (k *heldKey) public(der []byte) (crypto.PublicKey, error) {
	if p := k.parsed.Load(); p != nil && bytes.Equal(p.der, der) {
		return p.key, nil
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	k.parsed.Store(&parsedKey{bytes.Clone(der), pub})
	return pub, nil
}

// keyring is the bounded cache of unwrapped keys: unwrapping costs ten P-256 signatures. Keys that were not used for longest go
// first, and are deleted when their last user has let go of them.
//
// All keys of a generation were unwrapped in one session and die with it. When that session, or a key of it, turns out to be
// lost, the whole generation is forgotten, and the next unwrap waits until nobody uses a key of it and then opens a new
// session. So a token that gives a lost key's handle to another key never gets a call that meant the first one.
type keyring struct {
	mu         sync.Mutex
	most       int
	held       map[[sha256.Size]byte]*heldKey
	recent     *list.List // of *heldKey, the last used first
	generation uint64
	users      int           // of all keys of this generation, the evicted ones too
	due        bool          // the keeper needs a new session before the next unwrap
	lost       int           // users of forgotten generations
	drained    chan struct{} // closed when lost reaches zero; nil when nobody waits
}

func newKeyring(most int) *keyring {
	return &keyring{most: most, held: map[[sha256.Size]byte]*heldKey{}, recent: list.New()}
}

// find returns the key with its user counted, nil when it is not there.
func (r *keyring) find(id [sha256.Size]byte) *heldKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.held[id]
	if k == nil {
		return nil
	}
	r.recent.MoveToFront(k.place)
	k.users++
	r.users++
	return k
}

// add puts in a key that was unwrapped in a generation, with one user counted, and returns the one that had to go and has no
// user, if any. A key whose generation was forgotten meanwhile serves its one user only.
func (r *keyring) add(k *heldKey, generation uint64) (evicted *heldKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k.generation, k.users = generation, 1
	if generation != r.generation {
		r.lost++
		return nil
	}
	r.users++
	k.place = r.recent.PushFront(k)
	r.held[k.id] = k
	if len(r.held) <= r.most {
		return nil
	}
	oldest := r.recent.Back().Value.(*heldKey)
	r.remove(oldest)
	if oldest.users > 0 {
		return nil // its last user deletes it
	}
	return oldest
}

// remove hides a key from find. The caller holds the lock.
func (r *keyring) remove(k *heldKey) {
	delete(r.held, k.id)
	r.recent.Remove(k.place)
	k.place = nil
}

// letGo ends one use, and tells whether the key has to be deleted now.
func (r *keyring) letGo(k *heldKey) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k.users--
	if k.generation == r.generation {
		r.users--
		return k.place == nil && k.users == 0
	}
	r.lost--
	if r.lost == 0 && r.drained != nil {
		close(r.drained)
		r.drained = nil
	}
	return false // it dies with its session
}

// lose forgets every key of a generation and asks for a new session. It does nothing when that was done already.
func (r *keyring) lose(generation uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if generation == r.generation {
		r.forget()
		r.due = true
	}
}

// reset forgets every key because the module was finalised. No key has a user: the caller holds every session.
func (r *keyring) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	r.due = false
}

// forget starts a new generation. The caller holds the lock.
func (r *keyring) forget() {
	r.lost += r.users
	r.users = 0
	clear(r.held)
	r.recent.Init()
	r.generation++
}

// stale returns the generation, and whether its keeper needs a new session; wait, if not nil, is closed when nobody uses a
// key of the old one.
func (r *keyring) stale() (generation uint64, due bool, wait <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.due && r.lost > 0 && r.drained == nil {
		r.drained = make(chan struct{})
	}
	return r.generation, r.due, r.drained
}

func (r *keyring) renewed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = false
}

// unwrapper puts a key into the token, in the keeper's session.
type unwrapper func(keeper *session) (handle pkcs11.ObjectHandle, permanent bool, err error)

// withKey runs f with an unwrapped key, and once more with a new handle when the token has lost the key. f must be repeatable,
// and must not use another key of the keyring.
func (t *Token) withKey(ctx context.Context, op string, s *session, id [sha256.Size]byte, unwrap unwrapper,
	f func(*heldKey) error) error {
	for again := true; ; again = false {
		k, err := t.hold(ctx, op, s, id, unwrap)
		if err != nil {
			return err
		}
		err = f(k)
		if t.ring.letGo(k) {
			t.discard(s, k)
		}
		if classOf(err) != classObject || !again {
			return err
		}
		t.ring.lose(k.generation)
	}
}

// withWrapped is withKey for the blob of a kind.
func (t *Token) withWrapped(ctx context.Context, op string, s *session, k *kind, blob []byte, f func(*heldKey) error) error {
	if err := checkBlob(op, blob); err != nil {
		return err
	}
	return t.withKey(ctx, op, s, blobID(string(k.name), blob), func(keeper *session) (pkcs11.ObjectHandle, bool, error) {
		keys, err := t.loaded(op)
		if err != nil {
			return 0, false, err
		}
		h, err := t.module.UnwrapKey(keeper.handle, keyWrapPad(), k.wrapping(keys), blob, k.unwrapTemplate())
		return h, false, err
	}, f)
}

// maxBlob is more than a wrapped key of any kind has.
const maxBlob = 8 << 10

func checkBlob(op string, blob []byte) error {
	if len(blob) == 0 || len(blob) > maxBlob {
		return fault.New(fault.DecryptFailed, op, details[fault.DecryptFailed])
	}
	return nil
}

// blobID names a blob that is used in one way. The same blob used in another way is another object in the token.
func blobID(use string, parts ...[]byte) (id [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte(use))
	for _, part := range parts {
		h.Write([]byte{0})
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(id[:0]))
}

// hold returns the key, unwrapped if it was not yet, with its user counted. The keeper is the lock of unwrapping: of many
// callers who miss the same key one unwraps it. They hold a session of their own meanwhile, which is in order because whoever
// wants all of them takes the keeper last.
func (t *Token) hold(ctx context.Context, op string, s *session, id [sha256.Size]byte, unwrap unwrapper) (*heldKey, error) {
	if k := t.ring.find(id); k != nil {
		return k, nil
	}
	keeper, taken := take(ctx, t.pool.keeper, t.cfg.Wait, t.health.Load().changed)
	if !taken {
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(fault.Unavailable, op, "the request ended before the token was free", err)
		}
		return nil, fault.New(fault.HSMUnavailable, op, "the token is busy unwrapping keys; try again")
	}
	defer keeper.giveBack()
	if k := t.ring.find(id); k != nil {
		return k, nil
	}
	k := &heldKey{id: id}
	for again := true; ; again = false {
		generation, err := t.freshKeeper(ctx, op, keeper)
		if err != nil {
			return nil, err
		}
		k.handle, k.permanent, err = unwrap(keeper)
		if err == nil {
			if evicted := t.ring.add(k, generation); evicted != nil {
				t.discard(s, evicted)
			}
			return k, nil
		}
		if classOf(err) != classSession {
			return nil, err
		}
		t.ring.lose(generation)
		if !again {
			return nil, err
		}
	}
}

// freshKeeper gives the keeper a new session when the old one is lost, once nobody uses a key of it, and returns the
// generation of the keys that it keeps. The caller has the keeper.
func (t *Token) freshKeeper(ctx context.Context, op string, keeper *session) (generation uint64, err error) {
	generation, due, wait := t.ring.stale()
	if !due {
		return generation, nil
	}
	if wait != nil {
		timer := time.NewTimer(t.cfg.Wait)
		defer timer.Stop()
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, fault.Wrap(fault.Unavailable, op, "the request ended before the token was free", ctx.Err())
		case <-timer.C:
			return 0, fault.New(fault.HSMUnavailable, op, "the token is busy with keys that it has lost; try again")
		}
	}
	if err := t.replace(keeper); err != nil {
		return 0, err
	}
	t.ring.renewed()
	return generation, nil
}

// discard deletes a key that nobody can find or uses. One that cannot be deleted goes with its session.
func (t *Token) discard(s *session, k *heldKey) {
	if k.permanent {
		return
	}
	if err := t.module.DestroyObject(s.handle, k.handle); err != nil {
		t.ring.lose(k.generation)
	}
}

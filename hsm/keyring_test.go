package hsm

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

// ringToken is a provisioned token whose keyring holds a few keys only.
func ringToken(tb testing.TB, most int) *rig {
	tb.Helper()
	r := newRig(tb)
	r.cfg.UnwrappedKeys, r.cfg.Wait = most, 30*time.Second // the machine may be busy with other tests
	if err := r.open(tb).Provision(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return r
}

func (r *rig) mustSign(t *testing.T, k tokenKey) {
	t.Helper()
	if err := r.sign(t.Context(), k); err != nil {
		t.Fatal(err)
	}
}

// settled checks that no user is counted any more.
func (r *rig) settled(t *testing.T) {
	t.Helper()
	r.ring.mu.Lock()
	defer r.ring.mu.Unlock()
	if r.ring.users != 0 || r.ring.lost != 0 || len(r.ring.held) != r.ring.recent.Len() || len(r.ring.held) > r.ring.most {
		t.Errorf("%d users, %d of lost keys, %d keys, %d in order", r.ring.users, r.ring.lost, len(r.ring.held), r.ring.recent.Len())
	}
	for _, k := range r.ring.held {
		if k.users != 0 {
			t.Error("a key has users")
		}
	}
}

func TestKeysAreUnwrappedOnce(t *testing.T) {
	r := ringToken(t, 2)
	a, b, c := r.newKey(t, algs.ECDSAP256), r.newKey(t, algs.ECDSAP256), r.newKey(t, algs.ECDSAP256)
	r.ring.reset()
	unwraps := r.faults.Calls("C_UnwrapKey")
	for i, step := range []struct {
		key  tokenKey
		want int // unwraps so far
	}{{a, 1}, {a, 1}, {b, 2}, {a, 2}, {c, 3} /* b goes */, {a, 3}, {b, 4} /* c goes */, {a, 4}, {c, 5}} {
		r.mustSign(t, step.key)
		if n := r.faults.Calls("C_UnwrapKey") - unwraps; n != step.want {
			t.Errorf("step %d: %d unwraps, not %d", i, n, step.want)
		}
	}
	r.settled(t)
}

// Keys that had to go are deleted in the token.
func TestEvictedKeysAreDeleted(t *testing.T) {
	r := ringToken(t, 3)
	var all []tokenKey
	for range 10 {
		all = append(all, r.newKey(t, algs.ECDSAP256))
	}
	before := r.objects(t)
	for range 3 {
		for _, k := range all {
			r.mustSign(t, k)
		}
	}
	if n := r.objects(t); n != before || len(r.held()) != 3 {
		t.Errorf("%d objects before, %d after, %d held", before, n, len(r.held()))
	}
}

// A key that has to go while it is in use is deleted by its last user, not before.
func TestEvictionWaitsForUsers(t *testing.T) {
	r := ringToken(t, 1)
	a, b := r.newKey(t, algs.ECDSAP256), r.newKey(t, algs.ECDSAP256)
	r.mustSign(t, a)
	objects := r.objects(t)
	blocked, release := make(chan struct{}), make(chan struct{})
	r.faults.Set("C_SignInit", p11.Fault{Times: 1, Hook: func() { close(blocked); <-release }})
	done := make(chan error, 1)
	go func() { done <- r.sign(t.Context(), a) }()
	<-blocked
	r.mustSign(t, b)
	if n := r.objects(t); n != objects+1 {
		t.Errorf("%d objects while the evicted key is in use, %d before", n, objects)
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the user of the evicted key: %v", err)
	}
	if n := r.objects(t); n != objects {
		t.Errorf("%d objects afterwards, %d before", n, objects)
	}
	r.settled(t)
}

// The same blob for two algorithms is two objects, each with its own usages.
func TestOneBlobTwoUses(t *testing.T) {
	r := newToken(t)
	k := r.newKey(t, algs.ECDSAP256)
	r.mustSign(t, k)
	ours, err := k.parsed(t).(*ecdsa.PublicKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	peer, want := peerOf(t, ecdh.P256(), ours, false)
	got, err := r.Agree(t.Context(), algs.ECDHP256, k.blob, peer)
	if err != nil || !bytes.Equal(got.Reveal(), want) {
		t.Errorf("got %v", err)
	}
	if len(r.held()) != 2 {
		t.Errorf("%d objects", len(r.held()))
	}
}

// Many callers who miss the same key unwrap it once.
func TestConcurrentMisses(t *testing.T) {
	r := newToken(t)
	k := r.newKey(t, algs.ECDSAP256)
	r.ring.reset()
	unwraps := r.faults.Calls("C_UnwrapKey")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := r.sign(t.Context(), k); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := r.faults.Calls("C_UnwrapKey") - unwraps; n != 1 {
		t.Errorf("%d unwraps", n)
	}
}

func TestLostKeyIsUnwrappedAnew(t *testing.T) {
	for _, code := range []pkcs11.Error{pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID} {
		t.Run(ckrs[code].name, func(t *testing.T) { lostKey(t, code) })
	}
}

func lostKey(t *testing.T, code pkcs11.Error) {
	r := newToken(t)
	k := r.newKey(t, algs.ECDSAP256)
	r.mustSign(t, k)
	unwraps := r.faults.Calls("C_UnwrapKey")
	r.faults.Set("C_SignInit", p11.Fault{Err: code, Times: 1})
	r.mustSign(t, k)
	if n := r.faults.Calls("C_UnwrapKey") - unwraps; n != 1 {
		t.Errorf("%d unwraps", n)
	}
	// Twice is not bad luck any more; but the token is well.
	r.faults.Set("C_SignInit", p11.Fault{Err: code, Times: 2})
	if err := r.sign(t.Context(), k); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("twice: %v", err)
	}
	if _, down := r.DownSince(); down {
		t.Error("a lost key counts as an outage")
	}
	r.mustSign(t, k)
	r.settled(t)
}

// The token itself deletes the object, not only the injector.
func TestDeletedKeyIsUnwrappedAnew(t *testing.T) {
	r := newToken(t)
	sig, gcm := r.newKey(t, algs.ECDSAP256), r.newKey(t, algs.AES256GCM)
	for range 3 {
		for _, h := range r.held() {
			err := r.do(t.Context(), "test", func(s *session) error { return r.module.DestroyObject(s.handle, h) })
			if err != nil {
				t.Fatal(err)
			}
		}
		r.mustSign(t, sig)
		if _, err := r.EncryptGCM(t.Context(), gcm.blob, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, down := r.DownSince(); down {
		t.Error("a lost key counts as an outage")
	}
}

// The keeper's session ends in the token, and all its keys with it.
func TestLostKeeper(t *testing.T) {
	r := newToken(t)
	var all []tokenKey
	for range 5 {
		all = append(all, r.newKey(t, algs.ECDSAP256))
	}
	for range 3 {
		keeper := <-r.pool.keeper
		if err := r.module.CloseSession(keeper.handle); err != nil {
			t.Fatal(err)
		}
		keeper.giveBack()
		unwraps := r.faults.Calls("C_UnwrapKey")
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if err := r.sign(t.Context(), all[i%len(all)]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := r.faults.Calls("C_UnwrapKey") - unwraps; n != len(all) {
			t.Errorf("%d unwraps for %d keys", n, len(all))
		}
	}
	if _, down := r.DownSince(); down {
		t.Error("a lost session counts as an outage")
	}
	r.settled(t)
}

// The keeper's session is found lost by an unwrap.
func TestKeeperIsReplacedAtUnwrap(t *testing.T) {
	r := newToken(t)
	a, b := r.newKey(t, algs.ECDSAP256), r.newKey(t, algs.ECDSAP256)
	r.ring.reset()
	r.mustSign(t, a)
	r.faults.Set("C_UnwrapKey", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID), Times: 1})
	unwraps := r.faults.Calls("C_UnwrapKey")
	r.mustSign(t, b)
	r.mustSign(t, a) // it died with the session
	if n := r.faults.Calls("C_UnwrapKey") - unwraps; n != 3 {
		t.Errorf("%d unwraps", n)
	}
	r.faults.Set("C_UnwrapKey", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID)})
	r.ring.reset()
	if err := r.sign(t.Context(), a); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("a session that is lost again and again: %v", err)
	}
	if _, down := r.DownSince(); !down {
		t.Error("a token without sessions is up")
	}
}

// A new key never takes the place of a lost one that somebody is about to use: the token could give it the same handle.
func TestUnwrapWaitsForUsersOfLostKeys(t *testing.T) {
	r := newRig(t)
	r.cfg.Wait = 100 * time.Millisecond
	if err := r.open(t).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, b := r.newKey(t, algs.ECDSAP256), r.newKey(t, algs.ECDSAP256)
	r.ring.reset()
	r.mustSign(t, a)
	blocked, release := make(chan struct{}), make(chan struct{})
	r.faults.Set("C_SignInit", p11.Fault{Times: 1, Hook: func() { close(blocked); <-release }})
	done := make(chan error, 1)
	go func() { done <- r.sign(t.Context(), a) }()
	<-blocked
	r.ring.mu.Lock()
	generation := r.ring.generation
	r.ring.mu.Unlock()
	r.ring.lose(generation)
	r.ring.lose(generation) // the second one is late
	unwraps, opened := r.faults.Calls("C_UnwrapKey"), r.faults.Calls("C_OpenSession")
	if err := r.sign(t.Context(), b); !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("an unwrap beside a user of a lost key: %v", err)
	}
	if r.faults.Calls("C_UnwrapKey") != unwraps || r.faults.Calls("C_OpenSession") != opened {
		t.Error("the token was called")
	}
	waits := make(chan error, 1)
	go func() { waits <- r.sign(t.Context(), b) }()
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the user: %v", err)
	}
	if err := <-waits; err != nil && !errors.Is(err, fault.HSMUnavailable) {
		t.Errorf("the waiting one: %v", err)
	}
	r.mustSign(t, b)
	if n := r.faults.Calls("C_OpenSession") - opened; n != 1 {
		t.Errorf("%d sessions were opened", n)
	}
	r.settled(t)
}

// The token is gone between the unwrap and the use.
func TestTokenLostBetweenUnwrapAndUse(t *testing.T) {
	r := newToken(t)
	keys := []tokenKey{r.newKey(t, algs.ECDSAP256), r.newKey(t, algs.RSAPSS2048)}
	gcm, mac := r.newKey(t, algs.AES256GCM), r.newKey(t, algs.HMACSHA256)
	want, err := r.MAC(t.Context(), mac.name, mac.blob, nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(r.store.Dir(), "gone")
	for _, k := range keys {
		r.ring.reset()
		r.faults.Set("C_SignInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_KEY_HANDLE_INVALID), Times: 1,
			Hook: func() { rename(t, r.store.Tokens(), gone) }})
		if err := r.sign(t.Context(), k); !errors.Is(err, fault.HSMUnavailable) {
			t.Errorf("%s: %v", k.name, err)
		}
		if _, down := r.DownSince(); !down {
			t.Errorf("%s: the loss was not noticed", k.name)
		}
		if _, err := r.EncryptGCM(t.Context(), gcm.blob, nil, nil); !errors.Is(err, fault.HSMUnavailable) {
			t.Errorf("while the token is down: %v", err)
		}
		rename(t, gone, r.store.Tokens())
		if err := r.exclusively(t.Context(), "test", r.restore); err != nil {
			t.Fatal(err)
		}
		r.markUp()
		r.mustSign(t, k)
		if got, err := r.MAC(t.Context(), mac.name, mac.blob, nil); err != nil || !bytes.Equal(got, want) {
			t.Errorf("a MAC afterwards: %v", err)
		}
	}
	r.settled(t)
}

// Recovery forgets every handle: after it they would name other objects.
func TestRecoveryForgetsHandles(t *testing.T) {
	r := newToken(t)
	k := r.newKey(t, algs.ECDSAP256)
	r.run(t)
	for range 3 {
		r.faults.Set("C_SignInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED), Times: 1})
		if err := r.sign(t.Context(), k); !errors.Is(err, fault.HSMUnavailable) {
			// The health check may have taken the fault.
			r.waitDown(t)
		}
		r.faults.Clear()
		r.waitUp(t)
		if n := len(r.held()); n != 0 {
			t.Errorf("%d handles outlived the recovery", n)
		}
		r.mustSign(t, k)
	}
}

func TestKeysAcrossAnOutage(t *testing.T) {
	r := newToken(t)
	p := r.newReceiver(t)
	ec, gcm := r.newKey(t, algs.ECDSAP384), r.newKey(t, algs.AES256GCM)
	sealed, err := r.EncryptGCM(t.Context(), gcm.blob, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	legacy, kcv, err := r.ImportLegacy(t.Context(), 1, p.blob, p.wrap(t, make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	r.run(t)
	gone := filepath.Join(r.store.Dir(), "gone")
	ops := map[string]func() error{
		"SignDigest":   func() error { return r.sign(t.Context(), ec) },
		"DecryptGCM":   func() error { _, err := r.DecryptGCM(t.Context(), gcm.blob, sealed, nil); return err },
		"GenerateKey":  func() error { _, _, err := r.GenerateKey(t.Context(), algs.HMACSHA256); return err },
		"LegacyExpand": func() error { _, err := r.LegacyExpand(t.Context(), 1, legacy, kcv, nil, 32); return err },
		"Import": func() error {
			_, _, err := r.ImportWrapped(t.Context(), p.blob, algs.AES128CMAC, p.wrap(t, make([]byte, 16)), nil)
			return err
		},
	}
	for range 2 {
		if err := os.Rename(r.store.Tokens(), gone); err != nil {
			t.Fatal(err)
		}
		r.waitDown(t)
		for name, f := range ops {
			if err := f(); !errors.Is(err, fault.HSMUnavailable) {
				t.Errorf("%s while the token is gone: %v", name, err)
			}
		}
		if err := os.Rename(gone, r.store.Tokens()); err != nil {
			t.Fatal(err)
		}
		r.waitUp(t)
		for name, f := range ops {
			if err := f(); err != nil {
				t.Errorf("%s afterwards: %v", name, err)
			}
		}
	}
}

// Every operation at once, from more callers than there are sessions and with more keys than the keyring holds, while sessions,
// keys and the token get lost.
func TestKeysUnderLoad(t *testing.T) {
	for _, trouble := range []bool{false, true} {
		t.Run(fmt.Sprintf("trouble %v", trouble), func(t *testing.T) {
			r := ringToken(t, 4)
			p := r.newReceiver(t)
			load(t, r, p, trouble)
		})
	}
}

func load(t *testing.T, r *rig, p receiver, trouble bool) {
	var signers []tokenKey
	for _, name := range []algs.Name{algs.ECDSAP256, algs.ECDSAP384, algs.RSAPSS2048, algs.RSAPKCS12048} {
		signers = append(signers, r.newKey(t, name), r.newKey(t, name))
	}
	gcm, mac, agrees := r.newKey(t, algs.AES256GCM), r.newKey(t, algs.HMACSHA512), r.newKey(t, algs.ECDHP256)
	ours, err := agrees.parsed(t).(*ecdsa.PublicKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	peer, shared := peerOf(t, ecdh.P256(), ours, false)
	wantMAC, err := r.MAC(t.Context(), mac.name, mac.blob, nil)
	if err != nil {
		t.Fatal(err)
	}
	legacy, kcv, err := r.ImportLegacy(t.Context(), 1, p.blob, p.wrap(t, make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	r.run(t)
	ops := []func(i int) error{
		func(i int) error { return r.sign(t.Context(), signers[i%len(signers)]) },
		func(i int) error { return r.sign(t.Context(), signers[i%2]) },
		func(i int) error {
			text := fmt.Append(nil, i)
			sealed, err := r.EncryptGCM(t.Context(), gcm.blob, text, text)
			if err != nil {
				return err
			}
			got, err := r.DecryptGCM(t.Context(), gcm.blob, sealed, text)
			if err == nil && !bytes.Equal(got, text) {
				t.Error("another plaintext")
			}
			return err
		},
		func(int) error {
			got, err := r.MAC(t.Context(), mac.name, mac.blob, nil)
			if err == nil && !bytes.Equal(got, wantMAC) {
				t.Error("another MAC")
			}
			return err
		},
		func(int) error {
			got, err := r.Agree(t.Context(), agrees.name, agrees.blob, peer)
			if err == nil && !bytes.Equal(got.Reveal(), shared) {
				t.Error("another secret")
			}
			return err
		},
		func(int) error { _, err := r.LegacyExpand(t.Context(), 1, legacy, kcv, nil, 64); return err },
		func(int) error { _, err := r.Expand(t.Context(), nil, 32); return err },
	}
	var failed, worked atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for g := range 14 {
		wg.Go(func() {
			for i := g; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				switch err := ops[g%len(ops)](i); {
				case err == nil:
					worked.Add(1)
				case trouble && errors.Is(err, fault.HSMUnavailable):
					failed.Add(1)
					time.Sleep(time.Millisecond)
				default:
					t.Errorf("operation %d: %v", g%len(ops), err)
					return
				}
			}
		})
	}
	for i := range 30 {
		if i%5 == 0 {
			_, _, err := r.GenerateKey(t.Context(), algs.ECDSAP256)
			if err != nil && (!trouble || !errors.Is(err, fault.HSMUnavailable)) {
				t.Error(err)
			}
		}
		if trouble {
			disturb(r, i)
		}
		time.Sleep(40 * time.Millisecond)
		r.waitUp(t)
	}
	close(stop)
	wg.Wait()
	r.faults.Clear()
	r.waitUp(t)
	for i, f := range ops {
		if err := f(i); err != nil {
			t.Errorf("operation %d in the end: %v", i, err)
		}
	}
	if worked.Load() < 100 || trouble && failed.Load() == 0 {
		t.Errorf("%d operations worked and %d failed", worked.Load(), failed.Load())
	}
	r.settled(t)
}

// disturb makes two calls of one sort fail in one way.
func disturb(r *rig, i int) {
	calls := []string{"C_SignInit", "C_UnwrapKey", "C_Sign", "C_EncryptInit", "C_Decrypt", "C_DestroyObject"}
	codes := []pkcs11.Error{
		pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_DEVICE_ERROR,
		pkcs11.CKR_DEVICE_REMOVED,
	}
	r.faults.Set(calls[i%len(calls)], p11.Fault{Err: codes[i%len(codes)], Times: 2})
}

// Who wants every session takes the keeper last: an operation that has a session may still need it.
func TestKeeperIsTakenLast(t *testing.T) {
	r := newToken(t)
	k := r.newKey(t, algs.ECDSAP256)
	blocked, release := make(chan struct{}), make(chan struct{})
	r.faults.Set("C_SignInit", p11.Fault{Err: pkcs11.Error(pkcs11.CKR_KEY_HANDLE_INVALID), Times: 1,
		Hook: func() { close(blocked); <-release }})
	signed, all := make(chan error, 1), make(chan error, 1)
	go func() { signed <- r.sign(t.Context(), k) }()
	<-blocked
	go func() {
		all <- r.exclusively(t.Context(), "test", func(all []*session) error {
			if len(all) != r.cfg.Sessions+2 {
				t.Errorf("%d sessions", len(all))
			}
			return nil
		})
	}()
	for len(r.pool.idle)+len(r.pool.probe) > 0 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	if err := <-signed; err != nil {
		t.Errorf("the operation that needs the keeper: %v", err)
	}
	if err := <-all; err != nil {
		t.Error(err)
	}
}

package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
	"cryptoserve/softhsm"
	"cryptoserve/softhsm/softhsmtest"
)

// childVariable makes this binary the program of a child process: the name of one of the functions in children.
const childVariable = "CRYPTOSERVE_TEST_CHILD"

// order is what a child reads from its standard input.
type order struct {
	Module, Token, Label string
	PIN                  []byte
	Fingerprint          []byte
	Masked, Mask         []byte
}

var children = map[string]func(order) error{
	"trust": func(o order) error {
		return Trust(o.Module, o.Token, pin(string(o.PIN)), o.Label, [sha256.Size]byte(o.Fingerprint))
	},
	"known master": makeKnownMaster,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		var o order
		err := json.NewDecoder(os.Stdin).Decode(&o)
		if err == nil {
			err = children[name](o)
		}
		if err != nil {
			fmt.Fprint(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	prepared.remove()
	os.Exit(code)
}

// child runs one of children in a process of its own, and returns what it says when it fails.
func child(ctx context.Context, name string, o order) error {
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, "/proc/self/exe")
	c.Env = append(os.Environ(), childVariable+"="+name)
	c.Stdin = bytes.NewReader(line)
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// The labels of the two tokens in one store.
const (
	giverLabel  = "giver"
	joinerLabel = "joiner"
)

// template is a store with a provisioned token and one that PrepareJoin made ready, made once: pairs of RSA-4096 take seconds.
type template struct {
	once     sync.Once
	dir      string
	join     JoinKeys
	transfer Transfer
	other    []byte // a blob for another join key
	err      error
}

var prepared template

func (p *template) remove() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

func (p *template) make(tb testing.TB, module string, store *softhsm.Store) {
	p.err = func() (err error) {
		if p.dir, err = os.MkdirTemp("", "cryptoserve-transfer-"); err != nil {
			return err
		}
		for _, label := range []string{giverLabel, joinerLabel} {
			if err := InitToken(module, label, pin(testSOPIN), pin(testPIN)); err != nil {
				return err
			}
		}
		ctx := context.Background()
		joiner := rigFor(tb, module, store, joinerLabel)
		if joiner.Token, err = Open(ctx, joiner.cfg); err != nil {
			return err
		}
		if p.join, err = joiner.PrepareJoin(ctx); err != nil {
			return err
		}
		if err := joiner.Close(ctx); err != nil {
			return err
		}
		giver := rigFor(tb, module, store, giverLabel)
		if giver.Token, err = Open(ctx, giver.cfg); err != nil {
			return err
		}
		if err := giver.Provision(ctx); err != nil {
			return err
		}
		if p.transfer, err = giver.TransferKeys(ctx, p.join.Join, p.join.OAEPHash, giver.officer(p.join.Join)); err != nil {
			return err
		}
		another, err := giver.TransferKeys(ctx, hostJoinKey(), p.join.OAEPHash, giver.officer(hostJoinKey()))
		if err != nil {
			return err
		}
		p.other = another.Master
		if err := giver.Close(ctx); err != nil {
			return err
		}
		return os.CopyFS(filepath.Join(p.dir, "tokens"), os.DirFS(store.Tokens()))
	}()
}

// hostJoinKey is a join key whose private half no token has.
var hostJoinKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, joinBits)
	if err != nil {
		panic(err)
	}
	return spki(&key.PublicKey)
})

func spki(pub any) []byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		panic(err)
	}
	return der
}

// newPair returns a token that has the keys of a cluster and one that waits for them, in a store of their own. Both are closed.
func newPair(tb testing.TB) (giver, joiner *rig) {
	tb.Helper()
	module, store := softhsmtest.New(tb)
	prepared.once.Do(func() { prepared.make(tb, module, store) })
	if prepared.err != nil {
		tb.Fatal(prepared.err)
	}
	if err := os.RemoveAll(store.Tokens()); err != nil {
		tb.Fatal(err)
	}
	if err := os.CopyFS(store.Tokens(), os.DirFS(filepath.Join(prepared.dir, "tokens"))); err != nil {
		tb.Fatal(err)
	}
	return pairRig(tb, module, store, giverLabel), pairRig(tb, module, store, joinerLabel)
}

// pairRig is rigFor with the files of the token kept durable, as the appliance does it.
func pairRig(tb testing.TB, module string, store *softhsm.Store, label string) *rig {
	tb.Helper()
	r := rigFor(tb, module, store, label)
	r.cfg.AfterLogin = store.Sync
	return r
}

// withOwnSession runs f with a session that is none of the Token's, which may all be in use.
func (r *rig) withOwnSession(tb testing.TB, f func(*session)) {
	tb.Helper()
	h, err := r.module.OpenSession(r.slot, sessionFlags)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := r.module.CloseSession(h); err != nil {
			tb.Error(err)
		}
	}()
	f(&session{handle: h})
}

// openGiver opens the token with the keys of the cluster.
func openGiver(tb testing.TB) *rig {
	tb.Helper()
	giver, _ := newPair(tb)
	if err := giver.open(tb).Load(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return giver
}

// officer marks a join key by Trust in a child process.
func (r *rig) officer(join []byte) func(context.Context, string) error {
	fingerprint := JoinFingerprint(join)
	return func(ctx context.Context, label string) error {
		return child(ctx, "trust", order{Module: r.cfg.Module, Token: r.cfg.TokenLabel, PIN: []byte(testSOPIN), Label: label,
			Fingerprint: fingerprint[:]})
	}
}

func (r *rig) closeNow(tb testing.TB) {
	tb.Helper()
	if err := r.Close(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// has returns the labels of all objects of the token that begin with the prefix.
func (r *rig) has(tb testing.TB, prefix string) (labels []string) {
	tb.Helper()
	withSession(tb, r, func(s *session) {
		all, err := r.module.Find(s.handle, nil)
		if err != nil {
			tb.Fatal(err)
		}
		for _, h := range all {
			label, err := read(r.module, s, h, pkcs11.CKA_LABEL)
			if err != nil {
				tb.Fatal(err)
			}
			if strings.HasPrefix(string(label), prefix) {
				labels = append(labels, string(label))
			}
		}
	})
	slices.Sort(labels)
	return labels
}

func TestTransferBetweenTokens(t *testing.T) {
	giver, joiner := newPair(t)
	if err := giver.open(t).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	giver.run(t)
	want, kcvs := giver.mustExpand(t), giver.KeyCheckValues()

	// The token works on while a transfer runs.
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if out, err := giver.Expand(t.Context(), []byte("info"), 32); err != nil || !bytes.Equal(out.Reveal(), want) {
				stopped <- fmt.Errorf("during the transfer: %w", err)
				return
			}
		}
	}()
	start := time.Now()
	transfer, err := giver.TransferKeys(t.Context(), prepared.join.Join, prepared.join.OAEPHash, giver.officer(prepared.join.Join))
	t.Logf("transfer: %v", time.Since(start))
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if left := giver.has(t, LabelJoin); len(left) > 0 {
		t.Errorf("the giver keeps %v", left)
	}
	if giver.log.count("token is down") > 0 {
		t.Error("the token was down")
	}
	giverBlob, giverMAC := wrappedMAC(t, giver)
	pub, pairBlob, err := giver.GenerateWrapped(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	giver.closeNow(t)

	joiner.open(t)
	if provisioned, err := joiner.Provisioned(t.Context()); provisioned || err != nil {
		t.Errorf("Provisioned before: %v, %v", provisioned, err)
	}
	start = time.Now()
	if err := joiner.ReceiveKeys(t.Context(), transfer); err != nil {
		t.Fatal(err)
	}
	t.Logf("receive: %v", time.Since(start))
	if left := joiner.has(t, LabelJoin); len(left) > 0 {
		t.Errorf("the joiner keeps %v", left)
	}
	if got := joiner.has(t, "cs-"); !slices.Equal(got, []string{LabelMaster, LabelNode, LabelNode, LabelWrapPrivate, LabelWrapSecret}) {
		t.Errorf("the joiner has %v", got)
	}
	if !bytes.Equal(joiner.mustExpand(t), want) {
		t.Error("the tokens derive different keys")
	}
	if label, differs := kcvs.differs(joiner.KeyCheckValues()); differs {
		t.Errorf("another check value of %s", label)
	}
	if got, err := joiner.MAC(t.Context(), algs.HMACSHA256, giverBlob, []byte("m")); err != nil || !bytes.Equal(got, giverMAC) {
		t.Errorf("the giver's secret key: %v", err)
	}
	digest := sha256.Sum256([]byte("m"))
	signature, err := joiner.WrappedSigner(pub, pairBlob).Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(pub, digest[:], signature) {
		t.Errorf("the giver's pair: %v", err)
	}
	node := spki(joiner.NodeSigner().Public())
	if !bytes.Equal(node, prepared.join.Node) {
		t.Error("the node key is not the announced one")
	}
	joinerBlob, joinerMAC := wrappedMAC(t, joiner)
	if err := joiner.ReceiveKeys(t.Context(), transfer); err != nil {
		t.Errorf("the same transfer again: %v", err)
	}
	joiner.closeNow(t)

	// A new start finds a received token as it finds a provisioned one.
	if provisioned, err := joiner.open(t).Provisioned(t.Context()); !provisioned || err != nil {
		t.Errorf("Provisioned afterwards: %v, %v", provisioned, err)
	}
	if err := joiner.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(joiner.mustExpand(t), want) {
		t.Error("another key after a new start")
	}
	// It gives the keys on as the first one does.
	again, err := joiner.TransferKeys(t.Context(), hostJoinKey(), SHA1, joiner.officer(hostJoinKey()))
	if err != nil || len(again.Master) != joinBits/8 {
		t.Errorf("a transfer from the second token: %v", err)
	}
	joiner.closeNow(t)

	if err := giver.open(t).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := giver.MAC(t.Context(), algs.HMACSHA256, joinerBlob, []byte("m")); err != nil || !bytes.Equal(got, joinerMAC) {
		t.Errorf("the joiner's secret key: %v", err)
	}
}

// wrappedMAC makes a key for HMAC and returns it with the MAC of "m".
func wrappedMAC(tb testing.TB, r *rig) (blob, mac []byte) {
	tb.Helper()
	_, blob, err := r.GenerateKey(tb.Context(), algs.HMACSHA256)
	if err != nil {
		tb.Fatal(err)
	}
	if mac, err = r.MAC(tb.Context(), algs.HMACSHA256, blob, []byte("m")); err != nil {
		tb.Fatal(err)
	}
	return blob, mac
}

// Only the security officer makes a key trusted, and no other key gets the keys of a cluster out.
func TestOnlyATrustedKeyWraps(t *testing.T) {
	r := openGiver(t)
	pub, err := parseJoinKey("test", hostJoinKey())
	if err != nil {
		t.Fatal(err)
	}
	o := joinPublic(pub)
	withSession(t, r, func(s *session) {
		template, free, err := o.template("cs-join-x")
		if err != nil {
			t.Fatal(err)
		}
		defer free()
		if _, err := r.module.CreateObject(s.handle, append(template, encode([]attribute{trusted(true)})...)); err == nil {
			t.Error("the user made a trusted key")
		}
		h, err := r.module.CreateObject(s.handle, template)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.module.SetAttributeValue(s.handle, h, encode([]attribute{trusted(true)})); err == nil {
			t.Error("the user marked a key as trusted")
		}
		keys := r.keys.Load()
		for _, key := range []pkcs11.ObjectHandle{keys.master, keys.wrapPrivate, keys.wrapSecret} {
			_, err := r.module.WrapKey(s.handle, importOAEP[1].mechanism(nil), h, key)
			if !errors.Is(err, pkcs11.Error(pkcs11.CKR_KEY_NOT_WRAPPABLE)) {
				t.Errorf("wrapped by a key that nobody trusts: %v", err)
			}
		}
	})
	// What this left is taken for what a crash left.
	if err := r.DeleteJoinKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := r.has(t, LabelJoin); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestTransferRefusesJoinKeys(t *testing.T) {
	r := openGiver(t)
	good, err := parseJoinKey("test", hostJoinKey())
	if err != nil {
		t.Fatal(err)
	}
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, says string
		key        []byte
		hash       algs.Name
	}{
		{"nothing", "SubjectPublicKeyInfo", nil, SHA1},
		{"no key", "SubjectPublicKeyInfo", []byte("no key"), SHA1},
		{"more behind it", "SubjectPublicKeyInfo", append(bytes.Clone(hostJoinKey()), 0), SHA1},
		{"EC", "another algorithm", spki(&ec.PublicKey), SHA1},
		{"2048 bits", "4096 bits", spki(&short.PublicKey), SHA1},
		{"even modulus", "4096 bits", spki(&rsa.PublicKey{N: new(big.Int).Sub(good.N, big.NewInt(1)), E: good.E}), SHA1},
		{"exponent 3", "exponent", spki(&rsa.PublicKey{N: good.N, E: 3}), SHA1},
		{"even exponent", "exponent", spki(&rsa.PublicKey{N: good.N, E: 65538}), SHA1},
		{"hash", "SHA-256", hostJoinKey(), "MD5"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			created := r.faults.Calls("C_CreateObject")
			_, err := r.TransferKeys(t.Context(), c.key, c.hash, func(context.Context, string) error {
				t.Error("trust was asked for")
				return nil
			})
			if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if r.faults.Calls("C_CreateObject") != created {
				t.Error("the key reached the token")
			}
		})
	}
}

// The stronger hash is used where the token has it: SoftHSM2 has not.
func TestTransferTakesTheHashOfTheToken(t *testing.T) {
	r := openGiver(t)
	transfer, err := r.TransferKeys(t.Context(), prepared.join.Join, algs.SHA256, r.officer(prepared.join.Join))
	if err != nil || transfer.OAEPHash != SHA1 {
		t.Errorf("got %s, %v", transfer.OAEPHash, err)
	}
}

// Whatever fails, no key leaves the token and no join key stays in it.
func TestTransferFailsHalfWay(t *testing.T) {
	full, gone := pkcs11.Error(pkcs11.CKR_DEVICE_MEMORY), pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED)
	nobody := func(context.Context, string) error { return nil }
	r := openGiver(t)
	r.run(t)
	officer := r.officer(hostJoinKey())
	cases := []struct {
		name  string
		call  string
		fault p11.Fault
		trust func(context.Context, string) error
		says  string
	}{
		{"the disk is full", "C_CreateObject", p11.Fault{Err: full, Times: 1}, officer, "CKR_DEVICE_MEMORY"},
		{"reading back", "C_GetAttributeValue", p11.Fault{Err: full, Times: 1}, officer, "CKR_DEVICE_MEMORY"},
		{"not trusted", "", p11.Fault{}, nobody, "CKA_TRUSTED"},
		{"the officer says no", "", p11.Fault{}, func(context.Context, string) error { return errors.New("no PIN") }, "no PIN"},
		{"another key meanwhile", "", p11.Fault{}, func(ctx context.Context, label string) error {
			swapJoinKey(t, r, label)
			return nil
		}, "CKA_MODULUS"},
		{"gone meanwhile", "", p11.Fault{}, func(_ context.Context, label string) error {
			r.withOwnSession(t, func(s *session) {
				if err := r.deleteLabel(s, label); err != nil {
					t.Error(err)
				}
			})
			return nil
		}, "0 objects"},
		{"the third key", "C_WrapKey", p11.Fault{Err: full, After: 3, Times: 1}, officer, "CKR_DEVICE_MEMORY"},
		{"the token is gone for a moment", "C_WrapKey", p11.Fault{Err: gone, After: 2, Times: 1}, officer, "may be left"},
		{"the join key stays", "C_DestroyObject", p11.Fault{Err: full, Times: 1}, officer, "may be left"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.call != "" {
				r.faults.Set(c.call, c.fault)
			}
			transfer, err := r.TransferKeys(t.Context(), hostJoinKey(), SHA1, c.trust)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if transfer.Master != nil || transfer.WrapPrivate != nil || transfer.WrapSecret != nil {
				t.Error("keys came out")
			}
			r.faults.Clear()
			r.waitUp(t)
			if strings.Contains(c.says, "may be left") {
				if left := r.has(t, LabelJoin); len(left) == 0 {
					t.Error("the error says that a join key may be left, and none is")
				}
				// The next transfer deletes it.
				if _, err := r.TransferKeys(t.Context(), prepared.join.Join, SHA1, r.officer(prepared.join.Join)); err != nil {
					t.Errorf("the next transfer: %v", err)
				}
			}
			if left := r.has(t, LabelJoin); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
	r.mustExpand(t)
}

// swapJoinKey puts another key in the place of the join key.
func swapJoinKey(tb testing.TB, r *rig, label string) {
	tb.Helper()
	pub, err := parseJoinKey("test", prepared.join.Join)
	if err != nil {
		tb.Fatal(err)
	}
	o := joinPublic(pub)
	r.withOwnSession(tb, func(s *session) {
		if err := r.deleteLabel(s, label); err != nil {
			tb.Fatal(err)
		}
		template, free, err := o.template(label)
		if err != nil {
			tb.Fatal(err)
		}
		defer free()
		if _, err := r.module.CreateObject(s.handle, template); err != nil {
			tb.Fatal(err)
		}
	})
}

// heedless is a token that does not keep to CKA_WRAP_WITH_TRUSTED.
type heedless struct{ p11.Module }

func (heedless) WrapKey(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle, pkcs11.ObjectHandle) ([]byte, error) {
	return make([]byte, joinBits/8), nil
}

func TestTransferRefusesATokenThatWrapsForAnyKey(t *testing.T) {
	r := openGiver(t)
	r.module = heedless{r.module}
	transfer, err := r.TransferKeys(t.Context(), hostJoinKey(), SHA1, func(context.Context, string) error {
		t.Error("trust was asked for")
		return nil
	})
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "CKA_WRAP_WITH_TRUSTED") || transfer.Master != nil {
		t.Errorf("got %v", err)
	}
	if left := r.has(t, LabelJoin); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

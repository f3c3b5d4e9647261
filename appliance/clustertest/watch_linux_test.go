package clustertest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // #nosec G505 -- that of the token
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kwp "github.com/tink-crypto/tink-go/v2/kwp/subtle"
	"golang.org/x/sys/unix"

	"cryptoserve/engine/secret"
	"cryptoserve/hsm"
	"cryptoserve/softhsm"
)

// TestInvariant01JoinShowsNoMasterKey has a cluster made with a token whose keys this test knows, and joins two nodes to it. All that
// crosses the network meanwhile is captured, and all memory of every daemon is looked at, stopped for it: at work during the joins, and
// idle between and after them; and so is the child that works as the security officer, and every file. None of it holds the master key or
// a wrapping key, in any form, but for what the token's library has outside of the Go heap while it computes with them.
func TestInvariant01JoinShowsNoMasterKey(t *testing.T) {
	planted := make([]byte, 32)
	rand.Read(planted)
	for i := range planted {
		planted[i] |= 1 // an environment has no zero bytes
	}
	w := &watch{planted: forms(planted)}
	var env []string
	for i, f := range w.planted {
		env = append(env, fmt.Sprintf("CLUSTERTEST_PLANTED_%d=%s", i, f.text))
	}
	c := prepareCluster(t, 3, env...)
	w.cluster = c
	keys := makeKnownToken(t, c.dirs[0])
	for _, key := range keys {
		w.keys = append(w.keys, forms(key)...)
	}
	capture := NewCapture(t, c.nodes[0].Network)

	c.first(t, "--adopt-token")
	if node, err := os.ReadFile(filepath.Join(c.dirs[0], "node.json")); err != nil ||
		!strings.Contains(string(node), hex.EncodeToString(masterKCV(keys[0]))) {
		t.Fatalf("the node does not use the known master key: %v\n%s", err, node)
	}
	w.idle(t, "alone", 1)
	for i := 1; i < len(c.nodes); i++ {
		w.during(t, func() { c.join(t, i) })
		w.idle(t, "joined", i+1)
	}
	if err := c.settled(t.Context(), len(c.nodes)); err != nil {
		t.Fatal(err)
	}
	useEveryNode(t, c)
	w.idle(t, "used", len(c.nodes))
	w.files(t, planted)

	// In two pieces, so that it is found only by whoever puts streams together.
	sendInPieces(t, c.nodes[0].Host.Addr.String()+":8444", planted)
	if err := capture.Close(); err != nil {
		t.Fatal(err)
	}
	w.wire(t, capture)
	t.Log(w)
}

// watch looks for keys.
type watch struct {
	cluster *realCluster
	keys    []form
	planted []form // in the environment of every daemon

	memories, working, officers, scanned, inLibrary int
	text                                            []string
}

func (w *watch) String() string {
	return fmt.Sprintf("%d memories looked at, %d of them during a join, %d of the security officer's child, %d MiB in all; "+
		"%d copies in the token's library while it computed. %s",
		w.memories, w.working, w.officers, w.scanned>>20, w.inLibrary, strings.Join(w.text, "; "))
}

// look judges a memory. What the token's library holds for the moment of a computation is returned.
func (w *watch) look(t *testing.T, when string, m *memory) (library []place) {
	t.Helper()
	w.memories++
	w.scanned += m.size
	found := m.find(w.keys)
	heap, err := m.heap(w.planted)
	for _, p := range found {
		if err != nil || p.form != "raw" || within(heap, p.at) {
			t.Errorf("%s: a key is in the memory of process %d: %v", when, m.pid, p)
			continue
		}
		library = append(library, p)
	}
	return library
}

// idle looks at each daemon while it has nothing to do. Each asks its token now and then whether it is well, so a copy counts when it is
// there three times.
func (w *watch) idle(t *testing.T, when string, nodes int) {
	t.Helper()
	time.Sleep(200 * time.Millisecond) // the answers to the last requests are through
	for _, n := range w.cluster.nodes[:nodes] {
		for try := 1; ; try++ {
			m, err := pausedMemory(n)
			if err != nil || m == nil {
				t.Fatalf("%s: the memory of %s: %v", when, n.Name, err)
			}
			library := w.look(t, when+", idle", m)
			for _, f := range w.planted {
				if len(m.find([]form{f})) == 0 {
					t.Errorf("the search does not find what was planted in %s as %s", n.Name, f.name)
				}
			}
			if _, err := m.heap(w.planted); err != nil {
				t.Errorf("%s: %v", n.Name, err)
			}
			if len(library) == 0 {
				break
			}
			if try == 3 {
				t.Errorf("%s: idle %s holds a key: %v", when, n.Name, library)
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func pausedMemory(n *Node) (*memory, error) {
	if n.Process.PID() == 0 {
		return nil, nil
	}
	err := n.Process.Pause()
	var m *memory
	if err == nil {
		m, err = dumpMemory(n.Process.PID())
	}
	return m, errors.Join(err, n.Process.Resume())
}

// during looks at the daemons in turn while something happens, and at each process that they start.
func (w *watch) during(t *testing.T, f func()) {
	t.Helper()
	stop := make(chan struct{})
	var working, officers []*memory
	var failed error
	var watcher sync.WaitGroup
	watcher.Go(func() {
		// As often as it does not keep the nodes from their work.
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for _, n := range w.cluster.nodes {
				if len(officers) >= 8 {
					break
				}
				for _, child := range children(n.Process.PID()) {
					if m := stoppedMemory(child); m != nil {
						officers = append(officers, m)
					}
				}
			}
			if i%20 == 0 && len(working) < 20 {
				m, err := pausedMemory(w.cluster.nodes[i/20%len(w.cluster.nodes)])
				if err != nil {
					failed = errors.Join(failed, err)
				} else if m != nil {
					working = append(working, m)
				}
			}
		}
	})
	defer func() {
		close(stop)
		watcher.Wait()
		if failed != nil {
			t.Errorf("the memory of a daemon: %v", failed)
		}
		for _, m := range working {
			w.inLibrary += len(w.look(t, "during the join", m))
		}
		control := len(officers) == 0 // it lives for a moment, and a busy machine may miss it
		for _, m := range officers {
			if library := w.look(t, "the security officer's child", m); len(library) > 0 {
				t.Errorf("the security officer's child holds a key: %v", library)
			}
			control = control || len(m.find(w.planted)) > 0
		}
		if !control || len(working) == 0 {
			t.Errorf("looked at %d memories of daemons and %d of the security officer's child", len(working), len(officers))
		}
		w.working, w.officers = w.working+len(working), w.officers+len(officers)
	}()
	f()
}

// stoppedMemory is the memory of a process that may end at any moment, nil if it did.
func stoppedMemory(pid int) *memory {
	if unix.Kill(pid, unix.SIGSTOP) != nil {
		return nil
	}
	defer func() { _ = unix.Kill(pid, unix.SIGCONT) }()
	for range 100 {
		if stopped(pid) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	m, err := dumpMemory(pid)
	if err != nil || m.size == 0 {
		return nil
	}
	return m
}

// files looks at every file of the nodes, with their logs.
func (w *watch) files(t *testing.T, planted []byte) {
	t.Helper()
	control := filepath.Join(w.cluster.dirs[2], "planted")
	if err := os.WriteFile(control, slices.Concat([]byte("before"), planted, []byte("after")), 0o600); err != nil {
		t.Fatal(err)
	}
	count, seen := 0, false
	for i, dir := range w.cluster.dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			raw, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // the daemons run
			}
			count++
			for _, h := range find(raw, w.keys) {
				t.Errorf("a key is in %s at %d, %s", path, h.at, h.form)
			}
			seen = seen || len(find(raw, w.planted)) > 0
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range find([]byte(w.cluster.nodes[i].Process.LogTail(64<<20)), w.keys) {
			t.Errorf("a key is in the log of %s, %s", w.cluster.nodes[i].Name, h.form)
		}
	}
	if !seen {
		t.Error("the search does not find what was planted in a file")
	}
	w.text = append(w.text, fmt.Sprintf("%d files", count))
}

// wire looks at what was captured: nothing but hellos was in clear, and no key is in it.
func (w *watch) wire(t *testing.T, c *Capture) {
	t.Helper()
	var shown []byte
	total, sealed, controls := 0, 0, 0
	for _, s := range c.streams {
		total += len(s.data)
		for _, h := range find(s.data, w.keys) {
			t.Errorf("a key crossed the network, %s", h.form)
		}
		if len(find(s.data, w.planted)) > 0 {
			controls++
			continue
		}
		clearText, n, err := inClear(s.data)
		if err != nil {
			t.Errorf("something crossed the network without TLS: %v", err)
		}
		shown, sealed = append(shown, clearText...), sealed+n
	}
	for _, h := range find(c.others, w.keys) {
		t.Errorf("a key crossed the network outside of TCP, %s", h.form)
	}
	if controls != 1 {
		t.Errorf("the capture has what was sent in clear %d times, want 1", controls)
	}
	for _, protocol := range []string{"cryptoserve-join/1", "cryptoserve-raft/1", "cryptoserve-node/1"} {
		if !bytes.Contains(shown, []byte(protocol)) {
			t.Errorf("the capture has no %s", protocol)
		}
	}
	w.text = append(w.text, fmt.Sprintf("%d packets, %d streams, %d KiB, of them %d KiB sealed and %d bytes in clear",
		c.packets, len(c.streams), total>>10, sealed>>10, len(shown)))
}

// sendInPieces opens a connection and sends a text, in two segments.
func sendInPieces(t *testing.T, address string, text []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for piece := range slices.Chunk(text, len(text)/2) {
		if _, err := conn.Write(piece); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // Go sends without delay
	}
}

// useEveryNode encrypts on each node and decrypts on the next one.
func useEveryNode(t *testing.T, c *realCluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if a := c.Create(ctx, c.nodes[0], "watched"); a.Outcome != OK {
		t.Fatalf("create: %+v", a)
	}
	for i, n := range c.nodes {
		other := c.nodes[(i+1)%len(c.nodes)]
		for {
			made, a := c.Encrypt(ctx, n, "watched")
			if a.Outcome == OK {
				a = c.Decrypt(ctx, other, "watched", made)
			}
			if a.Outcome == OK && a.Detail != WrongPlaintext {
				break
			}
			if err := sleep(ctx, 50*time.Millisecond); err != nil { // it may not have the application yet
				t.Fatalf("encrypt at %s, decrypt at %s: %+v", n.Name, other.Name, a)
			}
		}
	}
}

// makeKnownToken makes the provisioned token of a dev directory whose master key and wrapping keys, in this order, the caller knows: it
// receives them as a token that joins does.
func makeKnownToken(t *testing.T, dir string) [3][]byte {
	t.Helper()
	library, err := softhsm.Library()
	if err != nil {
		t.Fatal(err)
	}
	store, err := softhsm.Create(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(softhsm.ConfEnv, store.Conf())
	pin, soPIN := rand.Text(), rand.Text()
	for name, text := range map[string]string{"token.pin": pin, "token.so-pin": soPIN} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	user := func() secret.Bytes { return secret.New([]byte(pin)) }
	if err := hsm.InitToken(library, "cryptoserve", secret.New([]byte(soPIN)), user()); err != nil {
		t.Fatal(err)
	}
	token, err := hsm.Open(t.Context(), hsm.Config{Module: library, TokenLabel: "cryptoserve", PIN: user()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := token.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	prepared, err := token.PrepareJoin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(prepared.Join)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	if prepared.OAEPHash == hsm.SHA1 {
		hash = sha1.New() // #nosec G401 -- that of the token
	}
	var keys [3][]byte
	var wrapped [3][]byte
	for i := range keys {
		keys[i] = make([]byte, 32)
		rand.Read(keys[i])
		if wrapped[i], err = rsa.EncryptOAEP(hash, rand.Reader, public.(*rsa.PublicKey), keys[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	err = token.ReceiveKeys(t.Context(), hsm.Transfer{
		OAEPHash: prepared.OAEPHash, Master: wrapped[0], WrapPrivate: wrapped[1], WrapSecret: wrapped[2],
		KeyCheckValues: hsm.KCVs{Master: masterKCV(keys[0]), WrapPrivate: wrappingKCV(t, keys[1]), WrapSecret: wrappingKCV(t, keys[2])},
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func masterKCV(key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("cryptoserve/kcv"))
	return mac.Sum(nil)[:8]
}

func wrappingKCV(t *testing.T, key []byte) []byte {
	t.Helper()
	wrapping, err := kwp.NewKWP(key)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := wrapping.Wrap(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(wrapped)
	return sum[:8]
}

// TestFormsAreFound puts a key into longer texts at every place.
func TestFormsAreFound(t *testing.T) {
	key := []byte("\xfb\xff\xfe0123456789abcdef0123456789\xfb\xff\xfe")
	for before := range 7 {
		text := slices.Concat(bytes.Repeat([]byte{0xa5}, before), key, []byte("after"))
		for name, b := range map[string][]byte{
			"raw": text, "hex": []byte(hex.EncodeToString(text)), "base64": []byte(base64.StdEncoding.EncodeToString(text)),
			"base64url": []byte(base64.URLEncoding.EncodeToString(text)),
		} {
			found := find(b, forms(key))
			if len(found) != 1 || !strings.HasPrefix(found[0].form, name) {
				t.Errorf("after %d bytes, %s: %v", before, name, found)
			}
		}
	}
	if found := find(bytes.Repeat([]byte("0123456789abcdef"), 100), forms(key)); len(found) > 0 {
		t.Errorf("found in another text: %v", found)
	}
}

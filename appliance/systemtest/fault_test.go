package systemtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cryptoserve/api/wire"
)

// TestTokenAway takes the token directory away while the daemon runs, and gives it back.
func TestTokenAway(t *testing.T) {
	faults := map[string]struct {
		away, back func(t *testing.T, token string)
	}{
		"removed": {
			func(t *testing.T, token string) { rename(t, token, token+".away") },
			func(t *testing.T, token string) { rename(t, token+".away", token) },
		},
		"emptied": {
			func(t *testing.T, token string) { rename(t, filepath.Join(token, "tokens"), token+".tokens") },
			func(t *testing.T, token string) { rename(t, token+".tokens", filepath.Join(token, "tokens")) },
		},
		"made unreadable": {
			func(t *testing.T, token string) { chmod(t, filepath.Join(token, "tokens"), 0) },
			func(t *testing.T, token string) { chmod(t, filepath.Join(token, "tokens"), 0o700) },
		},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "D")
			dev(t, dir).stop()
			edit(t, filepath.Join(dir, "config.yaml"), "grace: 1m0s", "grace: 0s")
			d := startUnprivileged(t, dir)
			app := d.as("app.token")
			frame := app.encrypt("default", "before")

			f.away(t, filepath.Join(dir, "token"))
			waitFor(t, "the node to notice", func() bool {
				s := stateOf(d)
				return s.State == "failed" && s.Reasons[0].Code == "hsm-unavailable"
			})
			in := wire.EncryptRequest{Context: "default", Plaintext: []byte("x")}
			p := app.fails(http.StatusServiceUnavailable, "hsm-unavailable", http.MethodPost, encryptPath, in)
			if !p.Retryable {
				t.Error("the problem does not say that it is retryable")
			}
			app.fails(http.StatusServiceUnavailable, "hsm-unavailable", http.MethodPost, decryptPath,
				wire.DecryptRequest{Context: "default", Ciphertext: frame.Ciphertext})
			// A caller that connects now gets its answer over TLS, too, although the node's key is away.
			d.as("app.token").fails(http.StatusServiceUnavailable, "hsm-unavailable", http.MethodPost, encryptPath, in)
			if status, _, _ := d.as("").do(http.MethodGet, "/health/ready", nil); status != http.StatusServiceUnavailable {
				t.Errorf("ready answers %d", status)
			}

			f.back(t, filepath.Join(dir, "token"))
			waitFor(t, "the node to recover", func() bool {
				return stateOf(d).State == "operational"
			})
			app.opens("default", frame.Ciphertext, "before")
			app.encrypt("default", "after")
			d.stop()
			verifyAudit(t, dir)
		})
	}
}

// stateOf asks on a connection of its own. The handshake that meets the loss of the token breaks, because its certificate was
// chosen before; the ones after it get the standby.
func stateOf(d *daemon) (s wire.State) {
	if _, _, raw, err := d.as("").try(http.MethodGet, "/health/state", nil); err == nil {
		if err := json.Unmarshal(raw, &s); err != nil {
			d.t.Fatal(err)
		}
	}
	return s
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestGraceServesCachedKeys takes the token away for less than the grace.
func TestGraceServesCachedKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	app := d.as("app.token")
	frame := app.encrypt("default", "before")
	token := filepath.Join(dir, "token")
	rename(t, token, token+".away")
	waitFor(t, "the node to notice", func() bool {
		return stateOf(d).State == "degraded"
	})
	app.opens("default", frame.Ciphertext, "before")
	app.fails(http.StatusServiceUnavailable, "hsm-unavailable", http.MethodPost, encryptPath, wire.EncryptRequest{Context: "general", Plaintext: []byte("x")})
	d.as("owner.token").fails(http.StatusServiceUnavailable, "hsm-unavailable", http.MethodPost, "/api/v1/contexts/default/rotate", nil)
	rename(t, token+".away", token)
	waitFor(t, "the node to recover", func() bool {
		return stateOf(d).State == "operational"
	})
	app.encrypt("general", "after")
	d.stop()
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedPINNeedsAPerson puts a token with another PIN in the place of the one that the daemon uses. The node says what is the
// matter and what to do; started again with the right token it serves.
func TestRefusedPINNeedsAPerson(t *testing.T) {
	dir, other := filepath.Join(t.TempDir(), "D"), filepath.Join(t.TempDir(), "other")
	dev(t, other).stop()
	d := dev(t, dir)
	frame := d.as("app.token").encrypt("default", "before")
	tokens := filepath.Join(dir, "token", "tokens")
	rename(t, tokens, tokens+".away")
	waitFor(t, "the node to notice", func() bool { return stateOf(d).State == "degraded" })
	rename(t, filepath.Join(other, "token", "tokens"), tokens)
	waitFor(t, "the node to say that the PIN was refused", func() bool {
		s := stateOf(d)
		return s.State == "degraded" && strings.Contains(s.Reasons[0].Detail, "refused the PIN") &&
			strings.Contains(s.Reasons[0].NextStep, "Correct the PIN file") && strings.Contains(s.Reasons[0].NextStep, "restart the node")
	})
	rename(t, tokens, filepath.Join(other, "token", "tokens"))
	rename(t, tokens+".away", tokens)
	d.stop()
	d = dev(t, dir)
	d.as("app.token").opens("default", frame.Ciphertext, "before")
	d.stop()
}

// TestInvariant01NoCoreDump looks at a running daemon from outside: it leaves no core file, and its memory belongs to root, so that
// no other process of its user reads it.
func TestInvariant01NoCoreDump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	dev(t, dir).stop()
	d := startUnprivileged(t, dir)
	process := filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid))
	limits, err := os.ReadFile(filepath.Join(process, "limits"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 +bytes`).Match(limits) {
		t.Errorf("core files are not switched off:\n%s", limits)
	}
	var memory unix.Stat_t
	if err := unix.Stat(filepath.Join(process, "mem"), &memory); err != nil || memory.Uid != 0 {
		t.Errorf("the memory of the daemon belongs to user %d, %v", memory.Uid, err)
	}
	d.stop()
}

func TestSecondDaemonIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	refuses(t, []string{"dev", "--dir", dir, "--listen", "127.0.0.1:0"}, "another cryptoserved works in "+dir)
	refuses(t, []string{"serve", "--config", filepath.Join(dir, "config.yaml")}, "another cryptoserved works in "+dir)
	d.as("app.token").encrypt("default", "x")
	d.stop()
}

func TestWrongPIN(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	frame := d.as("app.token").encrypt("default", "x")
	d.stop()
	pinFile := filepath.Join(dir, "token.pin")
	pin, err := os.ReadFile(pinFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pinFile, []byte("00000000000000000000000000000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	refusesWith(t, 3, []string{"dev", "--dir", dir, "--listen", "127.0.0.1:0"}, "PIN", "tried once")
	if err := os.WriteFile(pinFile, pin, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(pinFile, 0o644); err != nil {
		t.Fatal(err)
	}
	refuses(t, []string{"dev", "--dir", dir, "--listen", "127.0.0.1:0"}, "open to others", "chmod 600")
	if err := os.Chmod(pinFile, 0o600); err != nil {
		t.Fatal(err)
	}
	d = dev(t, dir)
	d.as("app.token").opens("default", frame.Ciphertext, "x")
	d.stop()
}

// TestInvariant02NothingReadableWithoutTheToken looks into every file of a node that has worked, and tries a copy of it without its
// token and with another one. TestInvariant02NoFileHoldsAKey looks into a snapshot too.
func TestInvariant02NothingReadableWithoutTheToken(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	app := d.as("app.token")
	const plaintext = "the quick brown fox 4711"
	app.opens("user-pii", app.encrypt("user-pii", plaintext).Ciphertext, plaintext)
	tokens := []string{d.file("app.token"), d.file("app.refresh"), d.file("owner.token")}
	d.stop()

	handOver := map[string]bool{"ca.pem": true, "app.token": true, "app.refresh": true, "owner.token": true}
	names := []string{"user-pii", "payment-data", "general", "demo"}
	looked := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		looked++
		inAudit := strings.HasPrefix(path, filepath.Join(dir, "audit"))
		for _, name := range names {
			if !inAudit && bytes.Contains(raw, []byte(name)) {
				t.Errorf("%s holds the name %q", path, name)
			}
		}
		if bytes.Contains(raw, []byte(plaintext)) {
			t.Errorf("%s holds a plaintext", path)
		}
		for _, token := range tokens {
			if !handOver[e.Name()] && bytes.Contains(raw, []byte(token)) {
				t.Errorf("%s holds a token", path)
			}
		}
		return nil
	})
	if err != nil || looked < 10 {
		t.Fatalf("looked into %d files: %v", looked, err)
	}

	without := copyTree(t, dir)
	if err := os.RemoveAll(filepath.Join(without, "token")); err != nil {
		t.Fatal(err)
	}
	refuses(t, []string{"dev", "--dir", without, "--listen", "127.0.0.1:0"}, "token", "without its token this node cannot start")

	other := filepath.Join(t.TempDir(), "other")
	dev(t, other).stop()
	for _, name := range []string{"token", "token.pin"} {
		if err := os.RemoveAll(filepath.Join(without, name)); err != nil {
			t.Fatal(err)
		}
		rename(t, filepath.Join(other, name), filepath.Join(without, name))
	}
	refuses(t, []string{"dev", "--dir", without, "--listen", "127.0.0.1:0"}, "another master key")
}

// TestInvariant02FlippedBytesAreNamed flips single bytes all over the Raft files of a stopped node. Whatever the byte, the node must
// not start as if nothing had happened with other data: it refuses and names what is damaged, or the byte was in unused space and
// everything that was acknowledged is there.
func TestInvariant02FlippedBytesAreNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	frame := d.as("app.token").encrypt("user-pii", "hello")
	ask[wire.RotateResponse](d.as("owner.token"), http.MethodPost, "/api/v1/contexts/user-pii/rotate", nil)
	d.stop()
	log := filepath.Join("raft", "raft.db")
	raw, err := os.ReadFile(filepath.Join(dir, log))
	if err != nil {
		t.Fatal(err)
	}
	used := usedBytes(raw)
	const tries = 12
	refused := 0
	for i := range tries {
		at := used[len(used)*(2*i+1)/(2*tries)]
		t.Run(fmt.Sprint("byte ", at), func(t *testing.T) {
			damaged := copyTree(t, dir)
			b := bytes.Clone(raw)
			b[at] ^= 0x10
			if err := os.WriteFile(filepath.Join(damaged, log), b, 0o600); err != nil {
				t.Fatal(err)
			}
			d, lines := launch(t, "dev", "--dir", damaged, "--listen", "127.0.0.1:0")
			d.dir = damaged
			line, ready := <-lines
			if !ready {
				<-d.done
				refused++
				if d.err == nil || !namesDamage.MatchString(d.stderr.String()) || strings.Contains(d.stderr.String(), "goroutine ") {
					t.Errorf("the refusal does not say what is damaged, or is a panic:\n%s", d.stderr)
				}
				return
			}
			d.url = strings.TrimPrefix(line, "ready ")
			got := ask[wire.DecryptResponse](d.as("app.token"), http.MethodPost, decryptPath, wire.DecryptRequest{Context: "user-pii", Ciphertext: frame.Ciphertext})
			if string(got.Plaintext) != "hello" || !got.Rewrap {
				t.Errorf("the node started with other data: %+v", got)
			}
			d.stop()
		})
	}
	if refused < tries/4 { // bolt leaves much of its file unused
		t.Errorf("only %d of %d flipped bytes were noticed", refused, tries)
	}
}

// namesDamage finds the name of what is damaged in a refusal: a log entry, a page or the whole of the database, a record.
var namesDamage = regexp.MustCompile(`raft: (log entry \d+|page \d+ of raft\.db|raft\.db|the record \S+ of the Raft log|the Raft log) is damaged: `)

// usedBytes returns the places of bytes that are not zero: free pages of the log are mostly zeros.
func usedBytes(raw []byte) []int {
	var used []int
	for i, b := range raw {
		if b != 0 {
			used = append(used, i)
		}
	}
	return used
}

// mountSmall puts a file system of its own, of a size in bytes, under a folder of the directory, keeping what is in it.
func mountSmall(t *testing.T, path string, bytes int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root; continuous integration has it")
	}
	saved := path + ".saved"
	rename(t, path, saved)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", bytes)); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.CopyFS(path, os.DirFS(saved)); err != nil {
		t.Fatal(err)
	}
}

// fill takes all space that is left in a folder's file system and returns how to give it back.
func fill(t *testing.T, path string) (free func()) {
	t.Helper()
	name := filepath.Join(path, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 20, 4096, 1} {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAuditDiskFull fills the disk of the audit folder. Operations go on in the segment that was written in advance and are refused
// when it is full; nothing answered is without its record, and the node serves again when there is space.
func TestAuditDiskFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	dev(t, dir).stop()
	mountSmall(t, filepath.Join(dir, "audit"), 48<<20)
	d := serve(t, dir, "segment_bytes: 16777216", "segment_bytes: 4194304")
	app := d.as("app.token")
	frame := app.encrypt("default", "before")
	free := fill(t, filepath.Join(dir, "audit"))

	transport := d.transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	token := d.file("app.token")
	answered := 0
	for {
		if _, err := encryptOnce(client, d.url, token, "x", nil); err != nil {
			break
		}
		answered++
		if answered > 200_000 {
			t.Fatal("the audit log takes more records than the disk has room for")
		}
	}
	app.fails(http.StatusServiceUnavailable, "audit-unavailable", http.MethodPost, encryptPath, wire.EncryptRequest{Context: "default", Plaintext: []byte("x")})
	if s := stateOf(d); s.State != "failed" || len(s.Reasons) != 1 || s.Reasons[0].Code != "audit-unavailable" {
		t.Errorf("state while the disk is full: %+v", s)
	}
	if status, _, _ := d.as("").do(http.MethodGet, "/health/ready", nil); status != http.StatusServiceUnavailable {
		t.Errorf("ready answers %d while the disk is full", status)
	}
	free()
	waitFor(t, "the node to serve again", func() bool {
		_, err := encryptOnce(client, d.url, token, "x", nil)
		return err == nil
	})
	app.opens("default", frame.Ciphertext, "before")
	d.stop()
	verifyAudit(t, dir)
	if n := strings.Count(auditText(t, dir), `"action":"crypto.encrypt"`); n < answered {
		t.Errorf("%d records for %d answers", n, answered)
	}
}

// TestRaftDiskFull fills the disk of the Raft log. Changes are refused, encrypt and decrypt go on.
func TestRaftDiskFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	dev(t, dir).stop()
	mountSmall(t, filepath.Join(dir, "raft"), 8<<20)
	d := serve(t, dir)
	app, owner := d.as("app.token"), d.as("owner.token")
	frame := app.encrypt("default", "before")
	free := fill(t, filepath.Join(dir, "raft"))
	refused := false
	var acknowledged uint32
	for range 5_000 {
		status, _, raw := owner.do(http.MethodPost, "/api/v1/contexts/default/rotate", nil)
		if status != http.StatusOK {
			if status != http.StatusServiceUnavailable || !bytes.Contains(raw, []byte("ledger-unavailable")) {
				t.Errorf("rotate on a full disk: %d %s", status, raw)
			}
			refused = true
			break
		}
		acknowledged++
	}
	if !refused {
		t.Fatal("the log takes more entries than the disk has room for")
	}
	app.opens("default", frame.Ciphertext, "before")
	app.encrypt("default", "meanwhile")
	free()
	waitFor(t, "changes to work again", func() bool {
		status, _, _ := owner.do(http.MethodPost, "/api/v1/contexts/default/rotate", nil)
		return status == http.StatusOK
	})
	d.stop()
	d = serve(t, dir)
	for _, c := range ask[wire.ContextsResponse](d.as("app.token"), http.MethodGet, "/api/v1/contexts", nil).Contexts {
		if c.Name == "default" && c.Version < acknowledged+2 {
			t.Errorf("version %d after %d acknowledged rotations", c.Version, acknowledged+1)
		}
	}
	d.as("app.token").opens("default", frame.Ciphertext, "before")
	d.stop()
}
